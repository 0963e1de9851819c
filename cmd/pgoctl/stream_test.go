package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// pattern is any number of bytes, which are not all the same.
type pattern struct{ left, at int }

func (p *pattern) Read(b []byte) (int, error) {
	n := min(len(b), p.left)
	for i := range b[:n] {
		b[i] = byte((p.at + i) % 251)
	}
	p.left, p.at = p.left-n, p.at+n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// An input of any size goes through without being kept.
func TestLargeInputTakesNoMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	most := map[int]int64{}
	for _, size := range []int{1 << 10, 64 << 20} {
		sum := sha256.New()
		if _, err := io.Copy(sum, &pattern{left: size}); err != nil {
			t.Fatal(err)
		}
		read, write, err := os.Pipe()
		w.must(err)
		c := w.command(at("pgo", "exec", "db", "sum")...)
		var stdout bytes.Buffer
		c.Stdin, c.Stdout, c.Stderr = read, &stdout, os.Stderr
		w.must(c.Start())
		read.Close()
		_, err = io.Copy(write, &pattern{left: size})
		w.must(err)
		write.Close()
		w.must(c.Wait())
		if want := fmt.Sprintf("%d %x <nil>", size, sum.Sum(nil)); strings.TrimSpace(stdout.String()) != want {
			t.Errorf("what arrives is %s, not %s", &stdout, want)
		}
		most[size] = c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	}
	t.Logf("memory at most: %v", most)
	if most[64<<20]-most[1<<10] > 40<<20 { // including a race detector's memory
		t.Errorf("memory at most, by size of the input: %v", most)
	}
}
