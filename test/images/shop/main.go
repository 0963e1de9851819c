// Command shop is a server for tests of what a client sees of a deploy. It answers each request with
// its NAME, and ends as END says: it drains, it dies, or it ignores that it is asked to.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// tick is the time between two lines of a stream.
const tick = 100 * time.Millisecond

func main() {
	ready := time.Now().Add(duration(os.Getenv("READY_AFTER")))
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if time.Now().Before(ready) {
			http.Error(w, "not ready", http.StatusInternalServerError)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has left
		}
		time.Sleep(duration(r.FormValue("for")))
		fmt.Fprintf(w, "%s %s", os.Getenv("NAME"), body)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			fmt.Fprintf(w, "data: %s\n\n", os.Getenv("NAME"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(tick)
		}
	})
	mux.HandleFunc("/socket", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			log.Print(err)
			return
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for ; err == nil; time.Sleep(tick) {
			_, err = fmt.Fprintln(conn, os.Getenv("NAME"))
		}
	})
	server := &http.Server{Addr: ":8080", Handler: mux}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	drained := make(chan struct{})
	go func() {
		for range end {
			switch os.Getenv("END") {
			case "dies":
				os.Exit(1)
			case "drains":
				_ = server.Shutdown(context.Background())
				close(drained)
				return
			}
		}
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-drained
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}
