//go:build !unix

package checkpoint

import (
	"io"
	"os"
)

// mapBytes reads the file: there is no portable memory mapping here.
func mapBytes(f *os.File, size int) (data []byte, mapped bool, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, false, err
}

func unmapBytes([]byte) error { return nil }

func releasePages([]byte) {}

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }
