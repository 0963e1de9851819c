package proto

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Unknown is the word for an enum's value that this build does not know. A worker that is not
// pgo's own can send one.
const Unknown = "unknown"

// enum is one of the contract's enums.
type enum interface {
	~int32
	protoreflect.Enum
}

// Word returns an enum's value as people read it: "not running" for RELOAD_NOT_RUNNING. The
// unspecified value has no word.
func Word(e protoreflect.Enum) string {
	values := e.Descriptor().Values()
	value := values.ByNumber(e.Number())
	if value == nil {
		return Unknown
	}
	return word(values, value)
}

func word(values protoreflect.EnumValueDescriptors, value protoreflect.EnumValueDescriptor) string {
	if value.Number() == 0 {
		return ""
	}
	prefix := strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(string(value.Name()), prefix), "_", " "))
}

// Value returns the enum's value with the word, or the unspecified one if there is none.
func Value[E enum](text string) E {
	var none E
	values := none.Descriptor().Values()
	for i := range values.Len() {
		if value := values.Get(i); word(values, value) == text {
			return E(value.Number())
		}
	}
	return none
}
