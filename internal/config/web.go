package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Proxies is how servers are reached over http and https: from pgod's environment, unless [pgod]
// says something else.
type Proxies struct {
	HTTP, HTTPS SecretURL // empty: none
	No          string    // hosts that are reached without one, as in NO_PROXY
}

var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// parseProxy takes the URL of a proxy. Without a scheme it is http, as everywhere else.
func parseProxy(text string) (SecretURL, error) {
	const form = "write http://host:port, or http://user:password@host:port with % and two hexadecimal digits for characters such as / @ : # and %"
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || !isPrintable(text) || !slices.Contains(proxySchemes, u.Scheme) {
		return SecretURL{}, wrong(form, "not the URL of a proxy")
	}
	if _, _, ok := hostPort(u.Host); !ok || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return SecretURL{}, wrong(form, "not the URL of a proxy")
	}
	u.Path, u.RawPath = "", ""
	return SecretURL{hideUserinfo(*u), NewSecret(u.String())}, nil
}

func parseNoProxy(text string) (string, error) {
	if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
		return "", wrong("", "%s contains a control character, or bytes that are not text", quote(text))
	}
	return text, nil
}

func readProxy(v value) SecretURL {
	proxy := read(v, resolved(v.refs, parseProxy))
	if proxy.hasPassword() {
		v.disclose()
	}
	return proxy
}

// addEnvironment adds the proxies of an environment to those that are set.
func (p *Proxies) addEnvironment(env func(string) (string, error)) (warnings Problems) {
	get := func(name string) (used, content string) {
		for _, used := range []string{name, strings.ToLower(name)} {
			if content, err := env(used); err == nil && content != "" {
				return used, content
			}
		}
		return name, ""
	}
	for _, each := range []struct {
		name  string
		proxy *SecretURL
	}{{"HTTP_PROXY", &p.HTTP}, {"HTTPS_PROXY", &p.HTTPS}} {
		used, content := get(each.name)
		if each.proxy.Reveal() != "" || content == "" {
			continue
		}
		parsed, err := parseProxy(content)
		if err != nil {
			warnings = append(warnings, problemOf("pgod's environment", 0, fmt.Errorf("%s is ignored: %w", used, err)))
		}
		*each.proxy = parsed
	}
	if p.No == "" {
		used, content := get("NO_PROXY")
		parsed, err := parseNoProxy(content)
		if err != nil {
			warnings = append(warnings, problemOf("pgod's environment", 0, fmt.Errorf("%s is ignored: %w", used, err)))
		}
		p.No = parsed
	}
	return warnings
}

// certificates reads the PEM file at the path that it parses, and returns the certificates in it.
// Nothing in it is a secret.
func certificates(refs references) func(string) (string, error) {
	return func(text string) (string, error) {
		path, err := parseAbsolutePath(text)
		if err != nil {
			return "", err
		}
		content, err := refs.public(path)
		if err != nil {
			return "", err
		}
		if _, err := x509.ParseCertificate([]byte(content)); err == nil {
			return "", wrong("openssl x509 -inform DER -in "+path+" prints it as it must be", "%s is in DER, not in PEM", path)
		}
		var all strings.Builder
		for block, rest := pem.Decode([]byte(content)); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				return "", wrong("leave only the certificates of authorities in it", "%s contains a %s", path, quote(block.Type))
			}
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return "", wrong("", "%s contains a certificate that cannot be read", path)
			}
			all.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
		if all.Len() == 0 {
			return "", wrong("write the path of an authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----", "%s is not a certificate", path)
		}
		return all.String(), nil
	}
}
