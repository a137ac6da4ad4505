package web

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServeProcess is no test but a server to be killed.
func TestServeProcess(t *testing.T) {
	root, listen := os.Getenv("KELVIN_TEST_ROOT"), os.Getenv("KELVIN_TEST_LISTEN")
	if root == "" {
		t.Skip("a server for TestShipping")
	}
	s, err := New(root, "a token of tests")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(context.Background(), l); err != nil {
		t.Fatal(err)
	}
}

// writerOfTests writes steps of a run and ships them; every step twice as fast as
// batches go.
const writerOfTests = `
import sys, time
sys.path.insert(0, sys.argv[1])
import ship, writer
folder, url, first, last = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
ship.PAUSE = 0.02
w = writer.Writer(folder, {"made_by": "test"}, first if first else None)
s = ship.Shipper(folder, url, "a token of tests")
for step in range(first, last):
    w.append([{"step": step, "kind": "step", "loss": 1 / (step + 1)}, {"step": step, "kind": "layer", "layer": "0", "virial": 0.5}])
    time.sleep(0.0005)
w.append([{"step": last, "kind": "end"}])
w.close()
s.close(30)
`

// TestShipping kills the server, then the writer, with signal 9, and starts both
// again: in the end the server has what the writer wrote, byte by byte.
func TestShipping(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	root, local := t.TempDir(), t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	kill := func(c *exec.Cmd) {
		c.Process.Signal(syscall.SIGKILL)
		c.Wait()
	}
	server := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run", "^TestServeProcess$")
		c.Env = append(os.Environ(), "KELVIN_TEST_ROOT="+root, "KELVIN_TEST_LISTEN="+address)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var said bytes.Buffer
	writer := func(first, last string) *exec.Cmd {
		c := exec.Command(python, "-c", writerOfTests, filepath.Join("..", "python", "kelvin_probe"), filepath.Join(local, "run"), "http://"+address, first, last)
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	there := filepath.Join(root, "run", "events.jsonl")
	until := func(what string, reached func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: never\n%s", what, said.String())
			}
		}
	}
	size := func() int64 {
		info, err := os.Stat(there)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	s := server()
	w := writer("0", "1000000")
	until("records arrive", func() bool { return size() > 20_000 })
	kill(s)
	before := size()
	time.Sleep(100 * time.Millisecond)
	s = server()
	until("records arrive again", func() bool { return size() > before+20_000 })
	kill(w)
	w = writer("500", "900")
	if err := w.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	defer kill(s)
	mine, err := os.ReadFile(filepath.Join(local, "run", "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(there)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(mine, theirs) {
		t.Errorf("%d bytes were written, %d are there\n%s", len(mine), len(theirs), said.String())
	}
	if n := strings.Count(string(theirs), `"kind":"resume"`); n != 1 {
		t.Errorf("%d resumes", n)
	}
}
