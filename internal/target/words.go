package target

import "strings"

// SplitWords splits a command line into words as a POSIX shell does, but expands nothing: only
// quotes and backslashes are special.
func SplitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false // also true in an empty word: ''
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case '\'', '"':
			inWord = true
			length := unquote(&word, line[i:])
			if length == 0 {
				return nil, Usagef("a quote (%c) is opened and never closed", c)
			}
			i += length - 1
		case '\\':
			if i++; i == len(line) {
				return nil, Usagef(`a backslash at the end of the line has nothing to quote; write '\'`)
			}
			if line[i] != '\n' { // a quoted newline continues the line
				inWord = true
				word.WriteByte(line[i])
			}
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// unquote writes the value of the quoted text at the start of s and returns the text's length,
// including both quotes, or 0 if the second one is missing.
func unquote(word *strings.Builder, s string) int {
	mark := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == mark:
			return i + 1
		case mark == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0:
			// Between double quotes, a backslash quotes only these five characters.
			if i++; s[i] != '\n' {
				word.WriteByte(s[i])
			}
		default:
			word.WriteByte(s[i])
		}
	}
	return 0
}

// quoteWord quotes s so that a shell, and SplitWords, read it as one word.
func quoteWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_@%+=:,./-", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
