//go:build !unix

package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// acquire takes the lock of a run. Where files cannot be locked, the lock is the
// file's existence, and a process that was killed leaves it behind.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if errors.Is(err, fs.ErrExist) {
		holder, _ := os.ReadFile(path)
		return nil, fmt.Errorf("another process (%s) is writing to it; if it is gone, delete %s", holder, path)
	}
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "pid %d", os.Getpid())
	return f, err
}

func release(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// held reports whether a process holds the lock at path.
func held(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
