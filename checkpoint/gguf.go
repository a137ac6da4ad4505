package checkpoint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// ggufDTypes maps GGML's type numbers to dtypes
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
var ggufDTypes = map[uint32]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
	10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
	16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
	24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}

const (
	ggufMaxDims   = 8
	ggufAlignment = 32 // unless the metadata says otherwise
)

// parseGGUF reads the header of a GGUF file: metadata, then for every tensor
// its name, shape (fastest dimension first), type and offset.
func (f *File) parseGGUF(m *mapping) error {
	r := &ggufReader{data: m.data, pos: 4}
	version := r.uint32()
	if version != 2 && version != 3 {
		return fmt.Errorf("GGUF version %d: expected 2 or 3, little-endian", version)
	}
	tensors, pairs := r.uint64(), r.uint64()
	f.Metadata = make(map[string]string)
	for i := uint64(0); i < pairs && r.err == nil; i++ {
		key := r.string("a metadata key")
		f.Metadata[key] = r.value(key, r.uint32(), 0)
	}
	var infos []ggufInfo
	for i := uint64(0); i < tensors && r.err == nil; i++ {
		infos = append(infos, r.info())
	}
	if r.err != nil {
		return fmt.Errorf("GGUF header: %w", r.err)
	}
	alignment := uint64(ggufAlignment)
	if a, set := f.Metadata["general.alignment"]; set {
		n, err := strconv.ParseUint(a, 10, 32)
		if err != nil || n == 0 || n&(n-1) != 0 {
			return fmt.Errorf("general.alignment: expected a power of two, got %q", a)
		}
		alignment = n
	}
	begin := (uint64(r.pos) + alignment - 1) / alignment * alignment
	body := m.data[min(begin, uint64(len(m.data))):]
	slices.SortStableFunc(infos, func(a, b ggufInfo) int { return cmp.Compare(a.offset, b.offset) })
	end := uint64(0)
	for _, t := range infos {
		size, err := t.place(end, uint64(len(body)), alignment)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		end = t.offset + size
		t.file, t.data = m, body[t.offset:end:end]
		f.Tensors = append(f.Tensors, t.Tensor)
	}
	return f.checkNames()
}

type ggufInfo struct {
	Tensor
	offset uint64
}

// place returns the number of bytes of t, which must lie between min and max.
func (t ggufInfo) place(min, max, alignment uint64) (uint64, error) {
	n, err := elements(t.Shape)
	if err != nil {
		return 0, err
	}
	l := layoutOf(t.DType)
	row := 1
	if len(t.Shape) > 0 {
		row = t.Shape[len(t.Shape)-1]
	}
	size := uint64(l.size(n))
	switch {
	case row%l.count != 0:
		return 0, fmt.Errorf("rows of %d elements do not fill blocks of %d (%s)", row, l.count, t.DType)
	case t.offset%alignment != 0:
		return 0, fmt.Errorf("offset %d is not a multiple of the alignment %d", t.offset, alignment)
	case t.offset < min:
		return 0, fmt.Errorf("its data at offset %d overlaps that of the tensor before, which ends at %d", t.offset, min)
	case t.offset > max || size > max-t.offset:
		return 0, fmt.Errorf("%s of shape %v at offset %d needs %d bytes, but the file has %d bytes of data: truncated or damaged", t.DType, t.Shape, t.offset, size, max)
	}
	return size, nil
}

// A ggufReader reads little-endian values. After the first error it returns
// zeros, so that callers check err once.
type ggufReader struct {
	data []byte
	pos  int
	err  error
}

func (r *ggufReader) failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", r.pos, fmt.Errorf(format, args...))
	}
}

// take returns the next n bytes, or nil after an error.
func (r *ggufReader) take(n uint64, what string) []byte {
	if left := uint64(len(r.data) - r.pos); r.err == nil && n > left {
		r.failf("truncated: %s needs %d bytes, %d are left", what, n, left)
	}
	if r.err != nil {
		return nil
	}
	b := r.data[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

func (r *ggufReader) uint32() uint32 {
	if b := r.take(4, "a number"); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *ggufReader) uint64() uint64 {
	if b := r.take(8, "a number"); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *ggufReader) string(what string) string { return string(r.take(r.uint64(), what)) }

// GGUF metadata types.
const (
	ggufUint8 = iota
	ggufInt8
	ggufUint16
	ggufInt16
	ggufUint32
	ggufInt32
	ggufFloat32
	ggufBool
	ggufString
	ggufArray
	ggufUint64
	ggufInt64
	ggufFloat64
)

// ggufWidths has the size of the metadata types of fixed size.
var ggufWidths = map[uint32]uint64{
	ggufUint8: 1, ggufInt8: 1, ggufUint16: 2, ggufInt16: 2, ggufUint32: 4, ggufInt32: 4,
	ggufFloat32: 4, ggufBool: 1, ggufUint64: 8, ggufInt64: 8, ggufFloat64: 8,
}

// value reads a metadata value as text. Of an array, only the length is kept.
func (r *ggufReader) value(key string, kind uint32, depth int) string {
	if kind == ggufString {
		return r.string("the value of " + strconv.Quote(key))
	}
	if kind == ggufArray {
		return r.array(key, depth)
	}
	width, known := ggufWidths[kind]
	if !known {
		r.failf("metadata %q: unknown type %d", key, kind)
		return ""
	}
	b := r.take(width, "metadata "+strconv.Quote(key))
	if b == nil {
		return ""
	}
	var wide [8]byte
	copy(wide[:], b)
	u := binary.LittleEndian.Uint64(wide[:])
	switch kind {
	case ggufInt8:
		return strconv.Itoa(int(int8(u)))
	case ggufInt16:
		return strconv.Itoa(int(int16(u)))
	case ggufInt32:
		return strconv.Itoa(int(int32(u)))
	case ggufInt64:
		return strconv.FormatInt(int64(u), 10)
	case ggufBool:
		return strconv.FormatBool(u != 0)
	case ggufFloat32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(u))), 'g', -1, 32)
	case ggufFloat64:
		return strconv.FormatFloat(math.Float64frombits(u), 'g', -1, 64)
	}
	return strconv.FormatUint(u, 10)
}

func (r *ggufReader) array(key string, depth int) string {
	kind, n := r.uint32(), r.uint64()
	if depth > 4 {
		r.failf("metadata %q: arrays are nested too deep", key)
		return ""
	}
	if width, fixed := ggufWidths[kind]; fixed {
		if n > uint64(len(r.data)) {
			r.failf("metadata %q: an array of %d elements does not fit the file", key, n)
			return ""
		}
		r.take(n*width, "metadata "+strconv.Quote(key))
	} else {
		for i := uint64(0); i < n && r.err == nil; i++ {
			r.value(key, kind, depth+1)
		}
	}
	return fmt.Sprintf("[%d values]", n)
}

func (r *ggufReader) info() ggufInfo {
	var t ggufInfo
	t.Name = r.string("a tensor name")
	dims := r.uint32()
	if dims > ggufMaxDims {
		r.failf("tensor %q: %d dimensions are above the limit of %d", t.Name, dims, ggufMaxDims)
		return t
	}
	t.Shape = make([]int, dims)
	for k := range t.Shape {
		d := r.uint64()
		if d > math.MaxInt {
			r.failf("tensor %q: dimension %d is out of range", t.Name, d)
		}
		t.Shape[len(t.Shape)-1-k] = int(d & math.MaxInt)
	}
	kind := r.uint32()
	t.offset = r.uint64()
	t.DType = ggufDTypes[kind]
	if t.DType == "" && r.err == nil {
		r.failf("tensor %q: unknown type %d", t.Name, kind)
	}
	return t
}
