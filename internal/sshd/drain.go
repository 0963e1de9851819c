package sshd

import (
	"reflect"
	"unsafe"
)

// drain reads what is left in the queue of a closed connection. The library reads a few packets
// ahead. If one of them ends the connection and more than sixteen have followed it, the goroutine
// that reads them would wait for ever for somebody to take them, and keep all of it in memory:
// strangers could fill the memory. The library does not give access to its queue, hence this.
//
// It depends on private fields of golang.org/x/crypto/ssh, the same up to v0.59.0: connection and
// the connection before a login have a field transport, a *handshakeTransport (or an interface
// that holds one), and that has the field incoming, a chan []byte which its readLoop closes.
// TestDrainFindsTheQueue fails when any of these changes: then see whether the library drains its
// queue itself, and remove this if it does. drain reports whether it has found the queue. If not,
// memory leaks, and nothing else happens.
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
