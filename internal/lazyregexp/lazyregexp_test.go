package lazyregexp

import (
	"reflect"
	"regexp"
	"testing"
)

// Every method does what the method of the same name of regexp.Regexp does.
func TestMethods(t *testing.T) {
	const text = `(a+)(b?)`
	lazy, eager := reflect.ValueOf(New(text)), reflect.ValueOf(regexp.MustCompile(text))
	for i := range lazy.NumMethod() {
		name := lazy.Type().Method(i).Name
		for _, input := range []string{"", "xaabxa", "b"} {
			var in []reflect.Value
			of := lazy.Method(i).Type()
			for n := range of.NumIn() {
				switch {
				case of.In(n).Kind() == reflect.Int:
					in = append(in, reflect.ValueOf(-1))
				case n == 0:
					in = append(in, reflect.ValueOf(input).Convert(of.In(n)))
				default:
					in = append(in, reflect.ValueOf("<$1>"))
				}
			}
			got, want := lazy.Method(i).Call(in)[0].Interface(), eager.MethodByName(name).Call(in)[0].Interface()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s of %q: got %v, want %v", name, input, got, want)
			}
		}
	}
}

func TestMistakesAreFoundByTests(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a test's own New accepts (, which is not a regular expression")
		}
	}()
	New(`(`)
}

func TestProgramsCompileLate(t *testing.T) {
	for program, want := range map[string]bool{"/tmp/policy.test": true, "pgo-worker": false, "/usr/bin/pgod": false} {
		if isTest([]string{program}) != want {
			t.Errorf("%s is taken for a test: %t, want %t", program, !want, want)
		}
	}
	if isTest(nil) {
		t.Error("a program without arguments is taken for a test")
	}
}
