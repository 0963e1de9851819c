package proto

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestWords(t *testing.T) {
	for _, test := range []struct {
		value protoreflect.Enum
		word  string
	}{
		{State_OUTCOME_UNSPECIFIED, ""},
		{State_OUTCOME_DEPLOYED, "deployed"},
		{ProxyState_RELOAD_NOT_RUNNING, "not running"},
		{State_Outcome(99), Unknown},
		{State_Outcome(-1), Unknown},
	} {
		if got := Word(test.value); got != test.word {
			t.Errorf("%v is %q, not %q", test.value, got, test.word)
		}
	}
	for word, want := range map[string]ProxyState_Reload{
		"": 0, "pending": ProxyState_RELOAD_PENDING, "not running": ProxyState_RELOAD_NOT_RUNNING, "NOT_RUNNING": 0, Unknown: 0, "unspecified": 0,
	} {
		if got := Value[ProxyState_Reload](word); got != want {
			t.Errorf("%q is %v, not %v", word, got, want)
		}
	}
}

// Each enum begins with an unspecified value, whose name gives the prefix of the others.
// No value has the word for one that is not known.
func TestEnums(t *testing.T) {
	found := 0
	check := func(enums protoreflect.EnumDescriptors) {
		for i := range enums.Len() {
			found++
			values := enums.Get(i).Values()
			prefix, ok := strings.CutSuffix(string(values.Get(0).Name()), "UNSPECIFIED")
			if !ok || values.Get(0).Number() != 0 {
				t.Errorf("%s begins with %s", enums.Get(i).FullName(), values.Get(0).Name())
			}
			for j := range values.Len() {
				if name := string(values.Get(j).Name()); !strings.HasPrefix(name, prefix) || word(values, values.Get(j)) == Unknown {
					t.Errorf("%s has %s", enums.Get(i).FullName(), name)
				}
			}
		}
	}
	check(File_proto_worker_proto.Enums())
	messages := File_proto_worker_proto.Messages()
	for i := range messages.Len() {
		check(messages.Get(i).Enums())
	}
	if found == 0 {
		t.Error("there is no enum")
	}
}
