package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxElements is the largest number of elements of a tensor: what nn takes for
// one example's signal.
const maxElements = 1 << 28

// Data types of onnx.proto3.
const (
	typeFloat    = 1
	typeUint8    = 2
	typeInt8     = 3
	typeUint16   = 4
	typeInt16    = 5
	typeInt32    = 6
	typeInt64    = 7
	typeBool     = 9
	typeFloat16  = 10
	typeDouble   = 11
	typeUint32   = 12
	typeUint64   = 13
	typeBfloat16 = 16
)

// A tensor is a constant: an initialiser, or what constants were folded to. Its
// elements are held as float64, which is exact for all its types but integers
// beyond 2⁵³, and those only stand for "to the end".
type tensor struct {
	name  string // of the initialiser whose elements these are, in any order; "" if computed
	dtype int
	shape []int
	data  []float64 // decoded by load

	raw      []byte // little-endian elements of width bytes
	width    int
	ints     []int64 // where the file lists integers one by one
	external map[string]string
	loaded   bool
}

func (t *tensor) size() int { return elements(t.shape) }

func elements(shape []int) int {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return size
}

// checkShape fails unless the dimensions are ≥ 0 with a product that can be held.
func checkShape(shape []int) error {
	size := 1
	for _, d := range shape {
		if d < 0 || d > maxElements || (d > 0 && size > maxElements/d) {
			return fmt.Errorf("shape %v: expected dimensions ≥ 0 with a product of at most %d", shape, maxElements)
		}
		size *= max(d, 1)
	}
	return nil
}

func (t *tensor) integer() bool {
	return t.dtype >= typeUint8 && t.dtype <= typeBool || t.dtype == typeUint32 || t.dtype == typeUint64
}

func parseTensor(data []byte) (*tensor, error) {
	t := &tensor{}
	var dims []int64
	var floats, doubles []byte
	err := eachField(data, func(f field) (err error) {
		switch f.id {
		case 1:
			dims, err = f.integers(dims)
		case 2:
			t.dtype = int(min(f.number, math.MaxInt32))
		case 4:
			floats, err = f.packed(floats, 4)
		case 5, 7, 11:
			t.ints, err = f.integers(t.ints)
		case 8:
			t.name = f.text()
		case 9:
			t.raw = f.bytes
		case 10:
			doubles, err = f.packed(doubles, 8)
		case 13:
			key, value, err := parseEntry(f.bytes)
			if t.external == nil {
				t.external = map[string]string{}
			}
			t.external[key] = value
			return err
		case 14:
			if f.number == 1 && t.external == nil {
				t.external = map[string]string{}
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.name, err)
	}
	for _, d := range dims {
		t.shape = append(t.shape, clampInt(d))
	}
	if err := checkShape(t.shape); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.name, err)
	}
	t.width = elementWidth(t.dtype)
	if floats != nil && t.dtype == typeFloat {
		t.raw = floats
	}
	if doubles != nil && t.dtype == typeDouble {
		t.raw = doubles
	}
	return t, nil
}

// elementWidth returns the bytes of one element, 0 for types that are not read.
func elementWidth(dtype int) int {
	switch dtype {
	case typeUint8, typeInt8, typeBool:
		return 1
	case typeUint16, typeInt16, typeFloat16, typeBfloat16:
		return 2
	case typeFloat, typeInt32, typeUint32:
		return 4
	case typeDouble, typeInt64, typeUint64:
		return 8
	}
	return 0
}

// load decodes the elements. External data are read from the folder.
func (t *tensor) load(folder string) error {
	if t.loaded {
		return nil
	}
	if t.width == 0 {
		return fmt.Errorf("tensor %q: data type %d is not supported: expected floating-point or integer numbers", t.name, t.dtype)
	}
	if t.external != nil {
		if err := t.readExternal(folder); err != nil {
			return fmt.Errorf("tensor %q: %w", t.name, err)
		}
	}
	size := t.size()
	switch {
	case len(t.ints) > 0 && len(t.raw) == 0:
		if len(t.ints) != size {
			return fmt.Errorf("tensor %q: expected %d elements for shape %v, got %d", t.name, size, t.shape, len(t.ints))
		}
		t.data = make([]float64, size)
		for i, v := range t.ints {
			t.data[i] = decodeInteger(t.dtype, v)
		}
	default:
		if len(t.raw) != size*t.width {
			return fmt.Errorf("tensor %q: expected %d bytes for shape %v, got %d", t.name, size*t.width, t.shape, len(t.raw))
		}
		t.data = make([]float64, size)
		for i := range t.data {
			t.data[i] = decode(t.dtype, t.raw[i*t.width:])
		}
	}
	t.loaded, t.raw, t.ints = true, nil, nil
	return nil
}

// decodeInteger decodes an element that the file holds as an integer: 16-bit
// floats as their bits.
func decodeInteger(dtype int, v int64) float64 {
	switch dtype {
	case typeFloat16, typeBfloat16:
		return decode(dtype, binary.LittleEndian.AppendUint16(nil, uint16(v)))
	case typeInt32:
		return float64(int32(v))
	case typeUint64:
		return float64(uint64(v))
	}
	return float64(v)
}

// readExternal reads the tensor's bytes from a file beside the model.
func (t *tensor) readExternal(folder string) error {
	name := t.external["location"]
	if name == "" || !filepath.IsLocal(name) || strings.ContainsAny(name, `\:`) {
		return fmt.Errorf("external data in %q: expected a file in the model's folder", name)
	}
	root, err := os.OpenRoot(folder) // follows no link out of the folder
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	length := int64(t.size() * t.width)
	var offset int64
	for key, to := range map[string]*int64{"offset": &offset, "length": &length} {
		if text, ok := t.external[key]; ok {
			if *to, err = strconv.ParseInt(text, 10, 64); err != nil || *to < 0 {
				return fmt.Errorf("external data in %q: %s: expected a number of bytes, got %q", name, key, text)
			}
		}
	}
	if !info.Mode().IsRegular() || offset > info.Size() || length > info.Size()-offset || length != int64(t.size()*t.width) {
		return fmt.Errorf("external data in %q: expected %d bytes from %d on, the file has %d", name, t.size()*t.width, offset, info.Size())
	}
	t.raw = make([]byte, length)
	if _, err := f.ReadAt(t.raw, offset); err != nil {
		return fmt.Errorf("external data in %q: %w", name, err)
	}
	return nil
}

func decodeFloat32(raw []byte) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
}

func decode(dtype int, raw []byte) float64 {
	switch dtype {
	case typeFloat:
		return decodeFloat32(raw)
	case typeDouble:
		return math.Float64frombits(binary.LittleEndian.Uint64(raw))
	case typeInt64:
		return float64(int64(binary.LittleEndian.Uint64(raw)))
	case typeUint64:
		return float64(binary.LittleEndian.Uint64(raw))
	case typeInt32:
		return float64(int32(binary.LittleEndian.Uint32(raw)))
	case typeUint32:
		return float64(binary.LittleEndian.Uint32(raw))
	case typeUint8, typeBool:
		return float64(raw[0])
	case typeInt8:
		return float64(int8(raw[0]))
	case typeInt16:
		return float64(int16(binary.LittleEndian.Uint16(raw)))
	case typeUint16:
		return float64(binary.LittleEndian.Uint16(raw))
	case typeBfloat16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw)) << 16))
	}
	return decodeFloat16(binary.LittleEndian.Uint16(raw))
}

func decodeFloat16(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	value := math.Ldexp(1024+fraction, exponent-25)
	switch exponent {
	case 0:
		value = math.Ldexp(fraction, -24)
	case 31:
		if value = math.Inf(1); fraction != 0 {
			value = math.NaN()
		}
	}
	if bits>>15 == 1 {
		return -value
	}
	return value
}
