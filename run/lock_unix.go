//go:build unix

package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// acquire takes the lock of a run. The kernel releases it when the process ends,
// however it ends, so a lock is never stale.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = flock(f, unix.LOCK_EX)
	for try := 0; try < 5 && errors.Is(err, unix.EWOULDBLOCK); try++ {
		time.Sleep(10 * time.Millisecond) // it may only be looked at: see held
		err = flock(f, unix.LOCK_EX)
	}
	if err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 64))
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another process (%s) is writing to it", strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintf(f, "pid %d\n", os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func flock(f *os.File, how int) error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) }

func release(f *os.File) error { return f.Close() }

// held reports whether a process holds the lock at path.
func held(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // releases it again
	return errors.Is(flock(f, unix.LOCK_SH), unix.EWOULDBLOCK)
}
