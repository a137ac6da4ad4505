package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"
)

// A Named is a tensor to be written. Exactly one of F32 and F64 holds its
// elements, in row-major order (for a tensor without elements, both may be nil).
type Named struct {
	Name  string
	Shape []int // outermost dimension first
	F32   []float32
	F64   []float64
}

// WriteSafetensors writes the tensors, F64 ones first and otherwise in the
// order given, so that each is aligned. The file appears under path whole or
// not at all, even if the machine stops: it is written to a temporary file
// beside path, synced and renamed.
func WriteSafetensors(path string, tensors []Named, metadata map[string]string) error {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b Named) int { return b.width() - a.width() })
	header, err := safetensorsHeader(tensors, metadata)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	err = replaceFile(path, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, t := range tensors {
			if err := t.write(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// width is the size of one element in bytes.
func (t Named) width() int {
	if t.F64 != nil {
		return 8
	}
	return 4
}

func safetensorsHeader(tensors []Named, metadata map[string]string) ([]byte, error) {
	var h bytes.Buffer
	h.Write(make([]byte, 8))
	h.WriteByte('{')
	if len(metadata) > 0 {
		if err := writeField(&h, metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	seen := map[string]bool{metadataKey: true}
	at := 0
	for _, t := range tensors {
		n, err := elements(t.Shape)
		have := len(t.F32) + len(t.F64)
		switch {
		case err != nil:
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		case seen[t.Name] || !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor %q: expected a name in UTF-8 that is not taken or reserved", t.Name)
		case t.F32 != nil && t.F64 != nil:
			return nil, fmt.Errorf("tensor %q: expected F32 or F64 values, got both", t.Name)
		case n != have:
			return nil, fmt.Errorf("tensor %q: shape %v needs %d values, got %d", t.Name, t.Shape, n, have)
		}
		seen[t.Name] = true
		end := at + n*t.width()
		e := entry{fmt.Sprintf("F%d", 8*t.width()), append([]int{}, t.Shape...), [2]int{at, end}}
		if err := writeField(&h, t.Name, e); err != nil {
			return nil, err
		}
		at = end
	}
	h.WriteByte('}')
	for h.Len()%8 != 0 {
		h.WriteByte(' ')
	}
	if h.Len()-8 > maxHeader {
		return nil, errors.New("too many tensors: the header would be above 100 MB")
	}
	binary.LittleEndian.PutUint64(h.Bytes(), uint64(h.Len()-8))
	return h.Bytes(), nil
}

// writeField appends "key":value to an open JSON object, as
// json.Marshal does, with keys in the order given.
func writeField(h *bytes.Buffer, key string, value any) error {
	if h.Bytes()[h.Len()-1] != '{' {
		h.WriteByte(',')
	}
	k, err := json.Marshal(key)
	if err != nil {
		return err
	}
	v, err := json.Marshal(value)
	if err != nil {
		return err
	}
	h.Write(k)
	h.WriteByte(':')
	h.Write(v)
	return nil
}

func (t Named) write(w io.Writer) error {
	var buf [8 * 1024]byte
	for part := range slices.Chunk(t.F32, len(buf)/4) {
		for i, x := range part {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(x))
		}
		if _, err := w.Write(buf[:4*len(part)]); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(t.F64, len(buf)/8) {
		for i, x := range part {
			binary.LittleEndian.PutUint64(buf[8*i:], math.Float64bits(x))
		}
		if _, err := w.Write(buf[:8*len(part)]); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file through a synced temporary file and a rename.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}
