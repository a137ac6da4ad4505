//go:build unix

package run

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A test runs itself as another process, which does what the environment says.
func TestMain(m *testing.M) {
	dir := os.Getenv("RUN_TEST_DIR")
	switch os.Getenv("RUN_TEST_DO") {
	case "":
		os.Exit(m.Run())
	case "write": // until it is killed
		r, _, err := Open(dir)
		fail(err)
		for step := int64(1); ; step++ {
			fail(r.Append(step1(step), Record{Step: step, Kind: KindLayer, Layer: "0", Values: map[string]float64{"virial": float64(step)}}))
		}
	case "fill": // a disk of few bytes
		signal.Ignore(syscall.SIGXFSZ)
		r, _, err := Open(dir)
		fail(err)
		var limit syscall.Rlimit
		fail(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
		hard := limit.Max
		batch := []Record{step1(1), step1(2), step1(3)}
		length := 0
		for _, record := range batch {
			line, err := record.MarshalJSON()
			fail(err)
			length += len(line) + 1
		}
		for room := range length {
			limit.Cur = uint64(room)
			fail(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
			err := r.Append(batch...)
			if !errors.Is(err, syscall.EFBIG) {
				fail(fmt.Errorf("room for %d bytes: %v", room, err))
			}
		}
		limit.Cur = hard
		fail(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
		fail(r.Append(step1(4)))
		fail(r.Close())
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(dir, do string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "RUN_TEST_DO="+do, "RUN_TEST_DIR="+dir)
	c.Stderr = os.Stderr
	return c
}

func TestKilledWriter(t *testing.T) {
	r := create(t)
	must(t, r.Close())
	for kill := range 3 {
		c := child(r.Dir, "write")
		must(t, c.Start())
		path := filepath.Join(r.Dir, eventsFile)
		start := size(path)
		for size(path) < start+100_000 {
			time.Sleep(time.Millisecond)
		}
		if kill == 0 {
			_, _, err := Open(r.Dir)
			if want := fmt.Sprintf("pid %d", c.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a second writer: %v, want one that names %s", err, want)
			}
			runs, err := List(r.Dir)
			must(t, err)
			if runs[0].State != Running || runs[0].Step == 0 {
				t.Errorf("while it is written: %+v", runs[0])
			}
		}
		must(t, c.Process.Kill())
		c.Wait() // says that it was killed
		before, _ := read(t, r.Dir)
		again, _, err := Open(r.Dir)
		must(t, err)
		must(t, again.Append(Record{Time: 1, Kind: KindResume}))
		must(t, again.Close())
		after := 0
		for _, err := range Records(r.Dir) {
			must(t, err)
			after++
		}
		if len(before) < 100 || after != kill+1 { // the resumes themselves
			t.Errorf("%d records before, %d after going back to the beginning", len(before), after)
		}
	}
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestFullDisk makes writes stop at every place in a batch of three records.
func TestFullDisk(t *testing.T) {
	r := create(t)
	must(t, r.Close())
	must(t, child(r.Dir, "fill").Run())
	got, problems := read(t, r.Dir)
	same(t, problems, []error(nil))
	same(t, got, []Record{step1(4)})
}

func TestDeviceFull(t *testing.T) {
	r := create(t)
	must(t, r.Close())
	path := filepath.Join(r.Dir, eventsFile)
	must(t, os.Remove(path))
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here")
	}
	must(t, os.Symlink("/dev/full", path))
	full, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	defer full.Close()
	broken := &Run{Dir: r.Dir, events: full}
	if err := broken.Append(step1(1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
}
