// Package nearest finds the word that somebody probably meant to type. It must not know what the
// words are for.
package nearest

// Word returns the candidate closest to word, and whether one is close enough
// to be worth asking "did you mean".
func Word(word string, candidates []string) (string, bool) {
	best, found := "", false
	// A third of the letters may be wrong: "lgos" is logs, "pu" could be anything.
	limit := (len(word) + 2) / 3
	for _, c := range candidates {
		if d := distance(word, c); d <= limit && d < len(c) {
			best, found, limit = c, true, d-1
		}
	}
	return best, found
}

// distance is Levenshtein's: how many letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
