package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math"
)

// A File is an open checkpoint. Its tensors stay readable until Close.
type File struct {
	Path     string
	Format   string            // "safetensors"
	Metadata map[string]string // free text the writer stored; may be nil
	Tensors  []Tensor          // in the order of their data in the file
	maps     []*mapping
}

// Open opens the checkpoint at path and checks its table of contents against
// the size of the file. Tensor data is not read.
func Open(path string) (*File, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	f := &File{Path: path, maps: []*mapping{m}}
	err = m.guard(func() error { return f.parse(m) })
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return f, nil
}

// parse recognises the format by its first bytes and reads the table of contents.
func (f *File) parse(m *mapping) error {
	switch head := m.data[:min(len(m.data), 16)]; {
	case len(head) == 0:
		return errors.New("the file is empty")
	case len(head) > 8 && bytes.IndexByte([]byte("{ "), head[8]) >= 0:
		f.Format = "safetensors"
		return f.parseSafetensors(m)
	}
	return errors.New("not a checkpoint: expected a safetensors file (8 bytes of header length, then a JSON object)")
}

// Close unmaps the file. No tensor of it may be in use.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, m.close())
	}
	f.maps = nil
	return errors.Join(errs...)
}

// Tensor returns the tensor called name, or an error that names the file.
func (f *File) Tensor(name string) (Tensor, error) {
	for _, t := range f.Tensors {
		if t.Name == name {
			return t, nil
		}
	}
	return Tensor{}, fmt.Errorf("reading %s: there is no tensor %q among its %d", f.Path, name, len(f.Tensors))
}

// A Tensor is one array in a checkpoint. It may be copied, and its methods may
// be called from several goroutines at once.
type Tensor struct {
	Name  string
	DType string // "F64", "F32", "F16", "BF16"; others ("I64", "BOOL", …) are listed but cannot be read
	Shape []int  // outermost dimension first, the last one contiguous in row-major order; empty for a scalar

	file *mapping
	data []byte // the encoded elements
}

// Len returns the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32 decodes all elements, in row-major order, into dst, whose length
// must be t.Len(). F64 values are rounded.
func (t Tensor) Float32(dst []float32) error { return readAll(t, dst) }

// Float64 is Float32 in double precision, in which every dtype is exact.
func (t Tensor) Float64(dst []float64) error { return readAll(t, dst) }

// Blocks yields all elements in row-major order, a few thousand at a time.
// The slice is reused. An error is yielded once, with a nil slice, and ends
// the sequence.
func (t Tensor) Blocks() iter.Seq2[[]float64, error] {
	return func(yield func([]float64, error) bool) {
		c, err := newCursor[float64](t)
		if err != nil {
			yield(nil, err)
			return
		}
		buf := make([]float64, min(t.Len(), blockLen))
		for left := t.Len(); left > 0; left -= len(buf) {
			buf = buf[:min(left, len(buf))]
			if err := c.next(buf); err != nil {
				yield(nil, err)
				return
			}
			if !yield(buf, nil) {
				return
			}
		}
	}
}

// blockLen is the number of elements decoded at a time. It is a multiple of
// every dtype's block, and its float64 form fits the first-level cache.
const blockLen = 4096

// readAll decodes the whole of t into dst.
func readAll[T float](t Tensor, dst []T) error {
	if len(dst) != t.Len() {
		return t.errorf("expected room for %d values, got %d", t.Len(), len(dst))
	}
	c, err := newCursor[T](t)
	if err != nil {
		return err
	}
	for len(dst) > 0 {
		n := min(len(dst), releaseLen)
		if err := c.next(dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

// releaseLen is the number of elements after which pages that have been read
// are handed back, so that mapped pages never add up to a second copy of the
// tensor.
const releaseLen = 1 << 20

// A cursor decodes a tensor from its beginning to its end.
type cursor[T float] struct {
	tensor   Tensor
	layout   layout
	decode   func(dst []T, src []byte)
	pos      int // bytes decoded
	released int // bytes whose pages were handed back
}

func newCursor[T float](t Tensor) (*cursor[T], error) {
	decode := decoderFor[T](t.DType)
	if decode == nil {
		return nil, t.errorf("expected a floating-point dtype (%s), got %s", readableDTypes, t.DType)
	}
	return &cursor[T]{tensor: t, layout: layouts[t.DType], decode: decode}, nil
}

// next decodes the next len(dst) elements.
func (c *cursor[T]) next(dst []T) error {
	n := c.layout.size(len(dst))
	err := c.tensor.file.guard(func() error {
		c.decode(dst, c.tensor.data[c.pos:c.pos+n])
		return nil
	})
	if err != nil {
		return c.tensor.errorf("%w", err)
	}
	c.pos += n
	if c.pos-c.released >= 4*releaseLen || c.pos == len(c.tensor.data) {
		c.tensor.file.release(c.tensor.data[c.released:c.pos])
		c.released = c.pos
	}
	return nil
}

func (t Tensor) errorf(format string, args ...any) error {
	return fmt.Errorf("reading %s: tensor %q: %w", t.file.path, t.Name, fmt.Errorf(format, args...))
}

// elements multiplies the dimensions of a shape.
func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension in shape %v", shape)
		}
		if d == 0 {
			return 0, checkNonzero(shape)
		}
		if n > math.MaxInt/16/d {
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= d
	}
	return n, nil
}

// checkNonzero bounds the product of the dimensions other than zero, so that a
// product taken in any order cannot overflow.
func checkNonzero(shape []int) error {
	var rest []int
	for _, d := range shape {
		if d != 0 {
			rest = append(rest, d)
		}
	}
	_, err := elements(rest)
	return err
}
