package checkpoint

import (
	"fmt"
	"io"
	"math"
)

// blockLen is the number of elements decoded at a time. It is a multiple of
// every dtype's unit, and its float64 form fits the first-level cache.
const blockLen = 4096

// releaseLen is the number of bytes after which pages that have been read are
// handed back, so that mapped pages never add up to a second copy of a tensor.
const releaseLen = 8 << 20

// readAll decodes the whole of t into dst.
func readAll[T float](t Tensor, dst []T) error {
	if len(dst) != t.Len() {
		return t.errorf("expected room for %d values, got %d", t.Len(), len(dst))
	}
	c, err := newCursor[T](t)
	if err != nil {
		return err
	}
	defer c.close()
	for len(dst) > 0 {
		n := min(len(dst), 16*blockLen)
		if err := c.next(dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

// A cursor decodes a tensor from its beginning to its end.
type cursor[T float] struct {
	tensor   Tensor
	layout   layout
	decode   func(dst []T, src []byte)
	pos      int           // elements decoded
	released int           // bytes whose pages were handed back
	index    []int         // of the next element, where there are strides
	inflated io.ReadCloser // where the tensor is compressed
	buf      []byte        // encoded elements that are not contiguous in the file
}

func newCursor[T float](t Tensor) (*cursor[T], error) {
	c := &cursor[T]{tensor: t, layout: layoutOf(t.DType), decode: decoderFor[T](t.DType)}
	if c.decode == nil {
		return nil, t.errorf("expected a floating-point dtype (%s), got %s", readableDTypes, t.DType)
	}
	if t.strides != nil {
		c.index = make([]int, len(t.Shape))
	}
	if t.inflate == nil {
		return c, nil
	}
	err := t.file.guard(func() (err error) {
		c.inflated, err = t.inflate()
		if err != nil || t.strides == nil {
			return err
		}
		// A compressed array in Fortran order has to be taken apart as a whole.
		c.tensor.data = make([]byte, c.layout.size(t.Len()))
		_, err = io.ReadFull(c.inflated, c.tensor.data)
		return err
	})
	if err != nil {
		return nil, t.errorf("%w", err)
	}
	return c, nil
}

// close frees what decompression holds.
func (c *cursor[T]) close() {
	if c.inflated != nil {
		c.inflated.Close()
	}
}

// next decodes the next len(dst) elements.
func (c *cursor[T]) next(dst []T) error {
	return c.view(len(dst), func(src []byte) { c.decode(dst, src) })
}

// view lets use see the next n elements as stored.
func (c *cursor[T]) view(n int, use func(src []byte)) error {
	err := c.tensor.file.guard(func() error {
		src, err := c.encoded(n)
		if err == nil {
			use(src)
		}
		return err
	})
	if err != nil {
		return c.tensor.errorf("%w", err)
	}
	return nil
}

// encoded returns the next n elements as stored, contiguous and little-endian.
func (c *cursor[T]) encoded(n int) ([]byte, error) {
	var src []byte
	size := c.layout.size(n)
	last := c.pos+n == c.tensor.Len()
	switch {
	case c.index != nil:
		src = c.gather(n)
	case c.inflated != nil:
		src = c.scratch(size)
		if _, err := io.ReadFull(c.inflated, src); err != nil {
			return nil, fmt.Errorf("decompressing: %w", err)
		}
		if last { // the checksum is verified at the end of the stream
			if _, err := c.inflated.Read(make([]byte, 1)); err != io.EOF {
				return nil, fmt.Errorf("decompressing: expected the end, got %v", err)
			}
		}
	default:
		begin := c.layout.size(c.pos)
		src = c.tensor.data[begin : begin+size]
		if begin-c.released >= releaseLen || last {
			c.tensor.file.release(c.tensor.data[c.released:begin])
			c.released = begin
		}
	}
	c.pos += n
	if c.tensor.bigEndian {
		src = c.reversed(src)
	}
	return src, nil
}

// gather copies the next n elements of a strided tensor together.
func (c *cursor[T]) gather(n int) []byte {
	t, width := c.tensor, c.layout.bytes
	out := c.scratch(n * width)
	inner := len(t.Shape) - 1
	for at := 0; at < len(out); {
		from := 0
		for k, i := range c.index {
			from += i * t.strides[k]
		}
		run := min(t.Shape[inner]-c.index[inner], (len(out)-at)/width)
		for range run {
			copy(out[at:at+width], t.data[from*width:])
			at += width
			from += t.strides[inner]
		}
		c.index[inner] += run
		for k := inner; k > 0 && c.index[k] == t.Shape[k]; k-- {
			c.index[k] = 0
			c.index[k-1]++
		}
	}
	return out
}

// reversed returns the elements of src with their bytes in the other order.
func (c *cursor[T]) reversed(src []byte) []byte {
	out := c.scratch(len(src)) // may be src itself
	width := c.layout.bytes
	for i := 0; i < len(src); i += width {
		for a, b := i, i+width-1; a <= b; a, b = a+1, b-1 {
			out[a], out[b] = src[b], src[a]
		}
	}
	return out
}

func (c *cursor[T]) scratch(n int) []byte {
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	return c.buf[:n]
}

// elements multiplies the dimensions of a shape. The product of those other
// than zero is bounded too, so that no order of multiplication can overflow.
func elements(shape []int) (int, error) {
	n, nonzero := 1, 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension in shape %v", shape)
		}
		if d > 0 && nonzero > math.MaxInt/16/d {
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= d
		nonzero *= max(d, 1)
	}
	return n, nil
}

// isRowMajor reports whether strides are those of a contiguous array.
func isRowMajor(shape, strides []int) bool {
	want := 1
	for k := len(shape) - 1; k >= 0; k-- {
		if shape[k] != 1 && strides[k] != want {
			return false
		}
		want *= shape[k]
	}
	return true
}
