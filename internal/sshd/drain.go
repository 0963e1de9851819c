package sshd

import (
	"reflect"
	"unsafe"
)

// drain takes what is left of a connection that is closed. The library reads a few packets
// ahead. Where one of them ends the connection and more than sixteen have come behind it,
// what reads them would wait for ever for somebody to take them, and hold on to all of it:
// strangers could fill the memory. The library has no way to its queue, hence this one. It
// reports whether it has found it, which a test holds against the library's version in use;
// if not, memory leaks and nothing else.
func drain(conn any) bool {
	queue := reflect.ValueOf(conn)
	for _, field := range []string{"transport", "incoming"} {
		for queue.Kind() == reflect.Interface || queue.Kind() == reflect.Pointer {
			queue = queue.Elem()
		}
		if queue.Kind() != reflect.Struct {
			return false
		}
		queue = queue.FieldByName(field)
	}
	if !queue.IsValid() || queue.Type() != reflect.TypeFor[chan []byte]() || !queue.CanAddr() {
		return false
	}
	for range *(*chan []byte)(unsafe.Pointer(queue.UnsafeAddr())) {
	}
	return true
}
