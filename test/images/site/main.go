// Command site is the smallest thing worth deploying: an HTTP server that answers every request
// with one text. The tests commit it, built statically, next to a Dockerfile FROM scratch, so
// that no image is ever pulled.
//
// It speaks HTTP by hand because net/http would make the binary, and with it
// each test repository and build context, more than twice as large.
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"os"
)

// greetingFile is what the site says when it exists, so that a test can mount
// a file of its repository there; otherwise it says $GREETING.
const greetingFile = "/greeting"

func main() {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("site: listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go answer(conn)
	}
}

// answer reads one request up to the empty line that ends its head, logs its
// first line and sends the greeting.
func answer(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for first := true; lines.Scan() && lines.Text() != ""; first = false {
		if first {
			fmt.Println("site:", lines.Text())
		}
	}
	text := greeting()
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

func greeting() string {
	if text, err := os.ReadFile(greetingFile); err == nil {
		return string(text)
	}
	return os.Getenv("GREETING")
}
