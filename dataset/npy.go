package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The npy reader is our own: github.com/sbinet/npyio v0.6 panics on malformed
// headers, allocates what a header claims, and takes a truncated file as whole.

// An array is one array of a file, its elements still encoded.
type array struct {
	name  string
	dtype dtype
	shape []int
	raw   []byte // row-major
}

// A dtype is the encoding of one element.
type dtype struct {
	kind  byte // 'f' float, 'i' signed, 'u' unsigned, 'b' bool
	size  int  // bytes
	order binary.ByteOrder
}

func (d dtype) integer() bool { return d.kind == 'i' || d.kind == 'u' }

func (d dtype) name() string {
	if d.kind == 'b' {
		return "bool"
	}
	return map[byte]string{'f': "float", 'i': "int", 'u': "uint"}[d.kind] + strconv.Itoa(8*d.size)
}

const npyMagic = "\x93NUMPY"

// parseNPY reads an npy file, versions 1 to 3
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
func parseNPY(name string, data []byte) (*array, error) {
	fail := func(format string, args ...any) (*array, error) {
		return nil, fmt.Errorf("array %q: "+format, append([]any{name}, args...)...)
	}
	h, d, start, err := npyHead(data)
	if err != nil {
		return fail("%w", err)
	}
	raw := data[start:]
	bytesClaimed, ok := sizeOf(h.shape, d.size)
	if !ok || bytesClaimed != len(raw) {
		return fail("shape %v of %s needs %s bytes of data, got %d", h.shape, d.name(), claim(bytesClaimed, ok), len(raw))
	}
	a := &array{name: name, dtype: d, shape: h.shape, raw: raw}
	if h.fortran {
		a.raw = rowMajor(raw, h.shape, d.size)
	}
	return a, nil
}

func claim(n int, ok bool) string {
	if !ok {
		return "more than 2^62"
	}
	return strconv.Itoa(n)
}

// sizeOf returns the product of shape and element, or false on overflow.
func sizeOf(shape []int, element int) (int, bool) {
	n := element
	empty := false
	for _, d := range shape {
		if d == 0 {
			empty = true
			continue
		}
		if n > (1<<62)/d {
			return 0, false
		}
		n *= d
	}
	if empty {
		return 0, true
	}
	return n, true
}

// rowMajor reorders elements stored with the first axis fastest.
func rowMajor(raw []byte, shape []int, size int) []byte {
	out := make([]byte, 0, len(raw))
	index := make([]int, len(shape))
	strides := make([]int, len(shape))
	stride := size
	for i, d := range shape {
		strides[i] = stride
		stride *= d
	}
	for at := 0; len(out) < len(raw); {
		out = append(out, raw[at:at+size]...)
		for i := len(shape) - 1; i >= 0; i-- {
			index[i]++
			at += strides[i]
			if index[i] < shape[i] {
				break
			}
			at -= index[i] * strides[i]
			index[i] = 0
		}
	}
	return out
}

type npyHeader struct {
	descr   string
	fortran bool
	shape   []int
}

// parseHeader reads the Python dictionary literal of an npy header: three known
// keys in any order.
func parseHeader(text string) (h npyHeader, err error) {
	s := strings.TrimSpace(text)
	s, ok := strings.CutPrefix(s, "{")
	if !ok {
		return h, fmt.Errorf("expected a dictionary, got %.40q", text)
	}
	seen := map[string]bool{}
	for {
		s = strings.TrimLeft(s, " ,")
		if strings.HasPrefix(s, "}") {
			break
		}
		var key string
		if key, s, err = quoted(s); err != nil {
			return h, fmt.Errorf("expected a quoted key: %w", err)
		}
		s = strings.TrimLeft(s, " ")
		if s, ok = strings.CutPrefix(s, ":"); !ok {
			return h, fmt.Errorf("expected ':' after %q", key)
		}
		s = strings.TrimLeft(s, " ")
		switch key {
		case "descr":
			if strings.HasPrefix(s, "[") {
				return h, fmt.Errorf("expected numbers, got records (a structured dtype)")
			}
			h.descr, s, err = quoted(s)
		case "fortran_order":
			h.fortran, s, err = boolean(s)
		case "shape":
			h.shape, s, err = tuple(s)
		default:
			err = fmt.Errorf("unknown key")
		}
		if err != nil {
			return h, fmt.Errorf("%q: %w", key, err)
		}
		seen[key] = true
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return h, fmt.Errorf("expected the key %q", key)
		}
	}
	return h, nil
}

func quoted(s string) (value, rest string, err error) {
	if s == "" || (s[0] != '\'' && s[0] != '"') {
		return "", "", fmt.Errorf("expected a quoted string, got %.20q", s)
	}
	end := strings.IndexByte(s[1:], s[0])
	if end < 0 {
		return "", "", fmt.Errorf("a string does not end")
	}
	return s[1 : 1+end], s[2+end:], nil
}

func boolean(s string) (value bool, rest string, err error) {
	if rest, ok := strings.CutPrefix(s, "True"); ok {
		return true, rest, nil
	}
	if rest, ok := strings.CutPrefix(s, "False"); ok {
		return false, rest, nil
	}
	return false, "", fmt.Errorf("expected True or False, got %.20q", s)
}

// tuple reads "(3, 4)", "(3,)" or "()", with at most 32 axes as numpy once had.
func tuple(s string) (shape []int, rest string, err error) {
	end := strings.IndexByte(s, ')')
	if !strings.HasPrefix(s, "(") || end < 0 {
		return nil, "", fmt.Errorf("expected a tuple, got %.20q", s)
	}
	for _, field := range strings.Split(s[1:end], ",") {
		field = strings.TrimSuffix(strings.TrimSpace(field), "L")
		if field == "" {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n < 0 || n > 1<<62 {
			return nil, "", fmt.Errorf("expected lengths from 0, got %.30q", field)
		}
		shape = append(shape, int(n))
	}
	if len(shape) > 32 {
		return nil, "", fmt.Errorf("expected at most 32 axes, got %d", len(shape))
	}
	return shape, s[end+1:], nil
}

const dtypesRead = "f2, f4, f8, i1 to i8, u1 to u8 or bool"

func parseDType(descr string) (dtype, error) {
	d := dtype{order: binary.LittleEndian}
	s := descr
	if s != "" && strings.IndexByte("<>|=", s[0]) >= 0 {
		if s[0] == '>' {
			d.order = binary.BigEndian
		}
		s = s[1:]
	}
	switch s {
	case "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1":
		d.kind, d.size = s[0], int(s[1]-'0')
		return d, nil
	case "O":
		return d, fmt.Errorf("expected dtype %s, got Python objects (they would have to be unpickled)", dtypesRead)
	}
	return d, fmt.Errorf("expected dtype %s, got %.20q", dtypesRead, descr)
}

func (a *array) len() int { return len(a.raw) / a.dtype.size }

// float64 decodes element i.
func (a *array) float64(i int) float64 {
	d := a.dtype
	b := a.raw[i*d.size:]
	switch d.kind {
	case 'f':
		switch d.size {
		case 2:
			return halfToFloat(d.order.Uint16(b))
		case 4:
			return float64(math.Float32frombits(d.order.Uint32(b)))
		}
		return math.Float64frombits(d.order.Uint64(b))
	case 'i':
		switch d.size {
		case 1:
			return float64(int8(b[0]))
		case 2:
			return float64(int16(d.order.Uint16(b)))
		case 4:
			return float64(int32(d.order.Uint32(b)))
		}
		return float64(int64(d.order.Uint64(b)))
	case 'u':
		switch d.size {
		case 1:
			return float64(b[0])
		case 2:
			return float64(d.order.Uint16(b))
		case 4:
			return float64(d.order.Uint32(b))
		}
		return float64(d.order.Uint64(b))
	}
	if b[0] != 0 {
		return 1
	}
	return 0
}

// halfToFloat decodes an IEEE 754 binary16.
func halfToFloat(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// float32s decodes all elements; each must be finite as a float32.
func (a *array) float32s() ([]float32, error) {
	out := make([]float32, a.len())
	for i := range out {
		v := a.float64(i)
		out[i] = float32(v)
		if math.IsNaN(v) || math.IsInf(float64(out[i]), 0) {
			return nil, fmt.Errorf("array %q: expected finite float32 numbers, got %v at index %v", a.name, v, unravel(i, a.shape))
		}
	}
	return out, nil
}

// labels decodes all elements as class labels.
func (a *array) labels() ([]int32, error) {
	out := make([]int32, a.len())
	for i := range out {
		v := a.float64(i)
		if v != math.Trunc(v) || !(v >= 0 && v < MaxClasses) {
			return nil, fmt.Errorf("array %q: expected class labels, integers from 0 to %d, got %v at index %v", a.name, MaxClasses-1, v, unravel(i, a.shape))
		}
		out[i] = int32(v)
	}
	return out, nil
}

// unravel turns a flat index into one per axis.
func unravel(i int, shape []int) []int {
	index := make([]int, len(shape))
	for axis := len(shape) - 1; axis >= 0; axis-- {
		index[axis] = i % shape[axis]
		i /= shape[axis]
	}
	return index
}

// appendNPY encodes data ([]float32, []float64, []int32 or []int64) as npy.
func appendNPY(w *bytes.Buffer, shape []int, data any) error {
	var descr string
	switch data.(type) {
	case []float32:
		descr = "<f4"
	case []float64:
		descr = "<f8"
	case []int32:
		descr = "<i4"
	case []int64:
		descr = "<i8"
	default:
		return fmt.Errorf("expected []float32, []float64, []int32 or []int64, got %T", data)
	}
	if n := binary.Size(data); n < 0 || n != product(shape)*int(descr[2]-'0') {
		return fmt.Errorf("shape %v does not hold %d bytes of %s", shape, n, descr)
	}
	var dims strings.Builder
	for _, d := range shape {
		fmt.Fprintf(&dims, "%d, ", d)
	}
	tuple := strings.TrimSuffix(dims.String(), " ")
	if len(shape) > 1 {
		tuple = strings.TrimSuffix(tuple, ",")
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	w.WriteString(npyMagic + "\x01\x00")
	var length [2]byte
	binary.LittleEndian.PutUint16(length[:], uint16(len(header)))
	w.Write(length[:])
	w.WriteString(header)
	return binary.Write(w, binary.LittleEndian, data)
}
