package hoststat

import (
	"reflect"

	"pgo/internal/printable"
)

// Printable makes all texts in the struct at pointer safe to show. They come from a worker or, for
// pgoctl, from a host, and neither is trusted with a terminal.
func Printable(pointer any) { makePrintable(reflect.ValueOf(pointer)) }

func makePrintable(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			makePrintable(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			makePrintable(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() { // a time has fields of its own
				makePrintable(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString(printable.Line(v.String()))
	}
}
