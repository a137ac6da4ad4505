package checkpoint

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// parseNPZ lists the arrays of a NumPy archive, compressed or not.
func (f *File) parseNPZ(m *mapping, archive *zip.Reader) error {
	for _, e := range archive.File {
		name, isArray := strings.CutSuffix(e.Name, ".npy")
		if !isArray {
			return fmt.Errorf("zip archive: expected arrays (.npy) or a file of torch.save (data.pkl), got %q", e.Name)
		}
		t, err := npyEntry(m, e)
		if err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
		t.Name, t.file = name, m
		f.Tensors = append(f.Tensors, t)
	}
	return f.checkNames()
}

// npyEntry reads the header of one array and finds its elements.
func npyEntry(m *mapping, e *zip.File) (Tensor, error) {
	var content []byte
	var err error
	compressed := e.Method != zip.Store
	if compressed {
		content, err = inflatedHead(e)
	} else {
		content, err = stored(m, e)
	}
	if err != nil {
		return Tensor{}, err
	}
	h, err := parseNPY(content)
	if err != nil {
		return Tensor{}, err
	}
	n, err := elements(h.tensor.Shape)
	if err != nil {
		return Tensor{}, err
	}
	t := h.tensor
	l, known := layouts[t.DType]
	if !known {
		return t, nil // listed under NumPy's name; its size is not ours to judge
	}
	size := e.UncompressedSize64
	if want := uint64(h.length) + uint64(l.size(n)); size != want {
		return Tensor{}, fmt.Errorf("%s of shape %v needs %d bytes with its header, got %d", t.DType, t.Shape, want, size)
	}
	if compressed {
		t.inflate = skipping(e, int64(h.length))
	} else {
		t.data = content[h.length:]
	}
	return t, nil
}

// inflatedHead decompresses enough of an entry to hold an array's header.
func inflatedHead(e *zip.File) ([]byte, error) {
	if err := checkDeflated(e); err != nil {
		return nil, err
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head := make([]byte, min(e.UncompressedSize64, 12+npyMaxHeader))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	return head, nil
}

// npyMaxHeader is the longest header that is read; real ones have about 128 bytes.
const npyMaxHeader = 1 << 16

// npyDTypes maps NumPy's type codes, without byte order, to dtypes.
var npyDTypes = map[string]string{
	"f8": "F64", "f4": "F32", "f2": "F16",
	"i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
	"u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8",
	"b1": "BOOL", "c8": "C64", "c16": "C128",
}

// An npyHeader is what stands before an array's elements.
type npyHeader struct {
	tensor Tensor
	length int // bytes before the elements
}

// parseNPY reads a header: magic, version, length, and a Python dict literal
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
func parseNPY(b []byte) (npyHeader, error) {
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		return npyHeader{}, errors.New("expected an array in NumPy's format")
	}
	begin, length := 10, uint32(binary.LittleEndian.Uint16(b[8:]))
	if b[6] >= 2 {
		begin, length = 12, binary.LittleEndian.Uint32(b[8:])
	}
	if b[6] < 1 || b[6] > 3 || length > npyMaxHeader || int(length) > len(b)-begin {
		return npyHeader{}, fmt.Errorf("version %d with a header of %d bytes: expected version 1 to 3 and a header inside the array", b[6], length)
	}
	h := npyHeader{length: begin + int(length)}
	l := literal{text: string(b[begin:h.length])}
	var descr string
	fortran, seen := false, map[string]bool{}
	l.expect('{')
	for l.err == nil && !l.accept('}') {
		key := l.quoted()
		l.expect(':')
		if seen[key] {
			l.failf("%q is given twice", key)
		}
		seen[key] = true
		switch key {
		case "descr":
			descr = l.quoted()
		case "fortran_order":
			fortran = l.boolean()
		case "shape":
			h.tensor.Shape = l.tuple()
		default:
			l.failf("unknown key %q", key)
		}
		l.accept(',')
	}
	if l.err == nil && len(seen) != 3 {
		l.failf("expected descr, fortran_order and shape")
	}
	if l.err != nil {
		return npyHeader{}, fmt.Errorf("array header: %w", l.err)
	}
	h.tensor.DType = npyDTypes[descr[1:]]
	if h.tensor.DType == "" {
		h.tensor.DType = descr
	}
	h.tensor.bigEndian = descr[0] == '>'
	if fortran {
		h.tensor.strides = fortranStrides(h.tensor.Shape)
	}
	return h, nil
}

// fortranStrides returns the strides of an array whose first dimension is
// contiguous, or nil if that is row-major order too.
func fortranStrides(shape []int) []int {
	strides := make([]int, len(shape))
	n := 1
	for k, d := range shape {
		strides[k] = n
		n *= d
	}
	if isRowMajor(shape, strides) {
		return nil
	}
	return strides
}

// A literal reads the few Python literals of an array header. After the first
// error it returns zeros.
type literal struct {
	text string
	pos  int
	err  error
}

func (l *literal) failf(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf("at character %d: %w", l.pos, fmt.Errorf(format, args...))
	}
}

// rest returns the text from the next token on.
func (l *literal) rest() string {
	for l.pos < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.pos]) >= 0 {
		l.pos++
	}
	return l.text[l.pos:]
}

func (l *literal) accept(c byte) bool {
	if r := l.rest(); l.err != nil || r == "" || r[0] != c {
		return false
	}
	l.pos++
	return true
}

func (l *literal) expect(c byte) {
	if !l.accept(c) {
		l.failf("expected %q", c)
	}
}

func (l *literal) quoted() string {
	r := l.rest()
	if r == "" || r[0] != '\'' && r[0] != '"' {
		l.failf("expected a string (structured arrays are not supported)")
		return ""
	}
	end := strings.IndexByte(r[1:], r[0])
	if end <= 0 {
		l.failf("expected a string that ends and is not empty")
		return ""
	}
	l.pos += end + 2
	return r[1 : 1+end]
}

func (l *literal) boolean() bool {
	for word, value := range map[string]bool{"True": true, "False": false} {
		if strings.HasPrefix(l.rest(), word) {
			l.pos += len(word)
			return value
		}
	}
	l.failf("expected True or False")
	return false
}

func (l *literal) tuple() []int {
	shape := []int{}
	l.expect('(')
	for l.err == nil && !l.accept(')') {
		r := l.rest()
		digits := len(r) - len(strings.TrimLeft(r, "0123456789"))
		n, err := strconv.ParseUint(r[:digits], 10, strconv.IntSize-1)
		if err != nil {
			l.failf("expected a dimension")
			break
		}
		l.pos += digits
		l.accept('L') // Python 2 wrote long integers so
		shape = append(shape, int(n))
		if !l.accept(',') {
			l.expect(')')
			break
		}
	}
	return shape
}
