package sshd

import (
	"reflect"
	"unsafe"
)

// drain takes what is left of a connection that is closed. The library reads a few packets
// ahead. Where one of them ends the connection and more than sixteen have come behind it,
// what reads them would wait for ever for somebody to take them, and hold on to all of it:
// strangers could fill the memory. The library has no way to its queue, hence this one; the
// tests of abuse fail should it have changed.
func drain(conn any) {
	queue := reflect.ValueOf(conn)
	for _, field := range []string{"transport", "incoming"} {
		for queue.Kind() == reflect.Interface || queue.Kind() == reflect.Pointer {
			queue = queue.Elem()
		}
		if queue.Kind() != reflect.Struct {
			return
		}
		queue = queue.FieldByName(field)
	}
	if !queue.IsValid() || queue.Type() != reflect.TypeFor[chan []byte]() || !queue.CanAddr() {
		return
	}
	for range *(*chan []byte)(unsafe.Pointer(queue.UnsafeAddr())) {
	}
}
