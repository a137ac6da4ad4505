package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
)

// A Matrix is a numeric npy file of at least two axes, read row by row, so that it
// may be larger than memory. The last axis is that of the columns; all others
// together number the rows, in order.
type Matrix struct {
	Path    string
	Rows    int
	Columns int

	file  *os.File
	dtype dtype
	start int64
}

// matrixBlock is how many bytes of rows are read at a time, at least one row.
const matrixBlock = 1 << 20

// OpenMatrix opens an npy file in row-major order. It is an error if the file is
// shorter or longer than its header says.
func OpenMatrix(path string) (*Matrix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening matrix: %w", err)
	}
	m, err := newMatrix(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	m.Path = path
	return m, nil
}

func newMatrix(f *os.File) (*Matrix, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(info.Size(), 1<<16))
	if _, err := f.ReadAt(head, 0); err != nil && len(head) > 0 {
		return nil, err
	}
	h, d, start, err := npyHead(head)
	if err != nil {
		return nil, err
	}
	switch {
	case h.fortran:
		return nil, errors.New("expected row-major order (C), got column-major (Fortran): save numpy.ascontiguousarray of it")
	case len(h.shape) < 2:
		return nil, fmt.Errorf("expected at least two axes, rows × columns, got shape %v", h.shape)
	}
	claimed, ok := sizeOf(h.shape, d.size)
	if !ok || int64(claimed) != info.Size()-int64(start) {
		return nil, fmt.Errorf("shape %v of %s needs %s bytes of data, got %d", h.shape, d.name(), claim(claimed, ok), info.Size()-int64(start))
	}
	last := len(h.shape) - 1
	return &Matrix{Rows: product(h.shape[:last]), Columns: h.shape[last], file: f, dtype: d, start: int64(start)}, nil
}

// npyHead reads the header of an npy file of which data is the beginning.
func npyHead(data []byte) (h npyHeader, d dtype, start int, err error) {
	if len(data) < 12 || string(data[:6]) != npyMagic {
		return h, d, 0, errors.New("expected an npy file (it begins with \\x93NUMPY)")
	}
	length := uint64(binary.LittleEndian.Uint16(data[8:]))
	start = 10
	if data[6] == 2 || data[6] == 3 {
		length, start = uint64(binary.LittleEndian.Uint32(data[8:])), 12
	} else if data[6] != 1 {
		return h, d, 0, fmt.Errorf("expected npy version 1, 2 or 3, got %d", data[6])
	}
	if length > uint64(len(data)-start) {
		return h, d, 0, fmt.Errorf("truncated: the header claims %d bytes, %d are left", length, len(data)-start)
	}
	if h, err = parseHeader(string(data[start : start+int(length)])); err != nil {
		return h, d, 0, fmt.Errorf("header: %w", err)
	}
	d, err = parseDType(h.descr)
	return h, d, start + int(length), err
}

// Close closes the file.
func (m *Matrix) Close() error { return m.file.Close() }

// All yields the rows in order; each is only good until the next. Numbers that are
// NaN come as they are: what they mean is for the caller to say.
func (m *Matrix) All() iter.Seq2[[]float64, error] {
	return func(yield func([]float64, error) bool) {
		width := m.Columns * m.dtype.size
		if width == 0 || m.Rows == 0 {
			return
		}
		rows := max(1, matrixBlock/width)
		block := make([]byte, rows*width)
		row := make([]float64, m.Columns)
		for first := 0; first < m.Rows; first += rows {
			n := min(rows, m.Rows-first)
			if _, err := m.file.ReadAt(block[:n*width], m.start+int64(first)*int64(width)); err != nil {
				yield(nil, fmt.Errorf("reading %s: row %d: %w", m.Path, first, err))
				return
			}
			a := array{dtype: m.dtype, raw: block[:n*width]}
			for i := range n {
				m.decode(&a, i*m.Columns, row)
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// decode reads the elements of a row from the i-th on.
func (m *Matrix) decode(a *array, i int, row []float64) {
	if m.dtype.kind == 'f' && m.dtype.size == 4 && m.dtype.order == binary.LittleEndian { // what most files hold
		raw := a.raw[4*i:]
		for j := range row {
			row[j] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*j:])))
		}
		return
	}
	for j := range row {
		row[j] = a.float64(i + j)
	}
}

// OpenLabels reads an npy file of class labels or tokens: integers from 0, of any
// shape, in row-major order.
func OpenLabels(path string) ([]int32, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening labels: %w", err)
	}
	a, err := parseNPY("labels", raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	labels, err := a.labels()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return labels, nil
}
