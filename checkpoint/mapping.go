package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"sync/atomic"
)

// A mapping is the content of one file.
type mapping struct {
	path   string
	data   []byte
	mapped bool // data is backed by the file, not by the heap
	closed atomic.Bool
}

func mapFile(path string) (*mapping, error) {
	f, err := os.Open(path)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return nil, pathErr.Err // the caller names the file
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("expected a regular file")
	}
	m := &mapping{path: path}
	if info.Size() == 0 {
		return m, nil
	}
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("%d bytes do not fit the address space", info.Size())
	}
	m.data, m.mapped, err = mapBytes(f, int(info.Size()))
	return m, err
}

// release hands back the memory of a part of m.data that was read; it is read
// from the file again if it is needed again.
func (m *mapping) release(part []byte) {
	if m.mapped {
		releasePages(part)
	}
}

func (m *mapping) close() error {
	if m.closed.Swap(true) || !m.mapped {
		return nil
	}
	return unmapBytes(m.data)
}

// guard runs read, which touches m.data. A file that was truncated after it
// was mapped faults; the fault becomes an error.
func (m *mapping) guard(read func() error) (err error) {
	if m.closed.Load() {
		return errors.New("the checkpoint is closed")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if _, isFault := fault.(interface{ Addr() uintptr }); !isFault {
			panic(fault)
		}
		err = errors.New("the file became shorter while it was read")
	}()
	return read()
}
