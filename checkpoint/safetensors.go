package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxHeader is the longest safetensors header the format allows.
const maxHeader = 100_000_000

// metadataKey is the entry of a safetensors header that is not a tensor.
const metadataKey = "__metadata__"

// parseSafetensors reads the header: 8 bytes of little-endian length, then a
// JSON object that gives each tensor's dtype, shape and place in the bytes
// that follow (https://huggingface.co/docs/safetensors).
func (f *File) parseSafetensors(m *mapping) error {
	if len(m.data) < 8 {
		return fmt.Errorf("truncated: expected 8 bytes of header length, got %d", len(m.data))
	}
	length := binary.LittleEndian.Uint64(m.data)
	if length > maxHeader {
		return fmt.Errorf("header length %d is above the limit of %d: not a safetensors file", length, maxHeader)
	}
	if length > uint64(len(m.data)-8) {
		return fmt.Errorf("truncated: expected a header of %d bytes, got %d", length, len(m.data)-8)
	}
	header, body := m.data[8:8+length], m.data[8+length:]
	entries, err := f.parseHeader(header)
	if err != nil {
		return err
	}
	// Data must fill the rest of the file: no gap, no overlap, no remainder.
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	at := 0
	for _, e := range entries {
		n, err := elements(e.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		l, known := layouts[e.DType]
		switch {
		case !known:
			return fmt.Errorf("tensor %q: unknown dtype %q", e.Name, e.DType)
		case n%l.count != 0:
			return fmt.Errorf("tensor %q: %d elements of %s do not fill whole bytes", e.Name, n, e.DType)
		case e.begin != at:
			return fmt.Errorf("tensor %q: expected its data to begin at offset %d, where the previous tensor ends, got %d", e.Name, at, e.begin)
		case e.end < e.begin || e.end > len(body):
			return fmt.Errorf("tensor %q: data offsets [%d, %d] are outside the %d bytes of data: the file is truncated or damaged", e.Name, e.begin, e.end, len(body))
		case e.end-e.begin != l.size(n):
			return fmt.Errorf("tensor %q: %s of shape %v needs %d bytes, got %d", e.Name, e.DType, e.Shape, l.size(n), e.end-e.begin)
		}
		at = e.end
		e.file, e.data = m, body[e.begin:e.end:e.end]
		f.Tensors = append(f.Tensors, e.Tensor)
	}
	if at != len(body) {
		return fmt.Errorf("expected %d bytes of tensor data, got %d", at, len(body))
	}
	return nil
}

// An entry is a tensor of the header with its place in the data.
type entry struct {
	Tensor
	begin, end int
}

// parseHeader reads the JSON object token by token, because encoding/json
// accepts what must be refused here: duplicate names and keys in other cases.
func (f *File) parseHeader(header []byte) ([]entry, error) {
	if !utf8.Valid(header) {
		return nil, errors.New("the header is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	var entries []entry
	seen := make(map[string]bool)
	err := object(d, func(name string) error {
		if seen[name] {
			return fmt.Errorf("two tensors are called %q", name)
		}
		seen[name] = true
		if name == metadataKey {
			return f.parseMetadata(d)
		}
		e, err := parseEntry(d)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		e.Name = name
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("header: expected one JSON object and nothing after it")
	}
	return entries, nil
}

func (f *File) parseMetadata(d *json.Decoder) error {
	f.Metadata = make(map[string]string)
	return object(d, func(key string) error {
		value, err := token[string](d, "a string")
		if err != nil {
			return fmt.Errorf("%s %q: %w", metadataKey, key, err)
		}
		f.Metadata[key] = value
		return nil
	})
}

func parseEntry(d *json.Decoder) (entry, error) {
	var e entry
	seen := make(map[string]bool, 3)
	err := object(d, func(key string) (err error) {
		if seen[key] {
			return fmt.Errorf("%q is given twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			e.DType, err = token[string](d, "a string")
		case "shape":
			e.Shape, err = integers(d)
		case "data_offsets":
			var at []int
			if at, err = integers(d); err == nil && len(at) != 2 {
				err = fmt.Errorf("expected two offsets, got %d", len(at))
			}
			if err == nil {
				e.begin, e.end = at[0], at[1]
			}
		default:
			return fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err == nil && len(seen) != 3 {
		err = errors.New("expected dtype, shape and data_offsets")
	}
	return e, err
}

// object reads a JSON object, calling value to read each value.
func object(d *json.Decoder, value func(key string) error) error {
	if err := delimiter(d, '{', "an object"); err != nil {
		return err
	}
	for d.More() {
		key, err := token[string](d, "a key")
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return delimiter(d, '}', "the end of an object")
}

// integers reads a JSON array of non-negative integers.
func integers(d *json.Decoder) ([]int, error) {
	if err := delimiter(d, '[', "an array"); err != nil {
		return nil, err
	}
	list := []int{}
	for d.More() {
		number, err := token[json.Number](d, "an integer")
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(number.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("expected a non-negative integer, got %s", number)
		}
		list = append(list, int(n))
	}
	return list, delimiter(d, ']', "the end of an array")
}

func delimiter(d *json.Decoder, want json.Delim, what string) error {
	got, err := token[json.Delim](d, what)
	if err == nil && got != want {
		err = fmt.Errorf("expected %s, got %q", what, got)
	}
	return err
}

func token[T any](d *json.Decoder, what string) (T, error) {
	var zero T
	t, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return zero, fmt.Errorf("not valid JSON: %w", err)
	}
	v, ok := t.(T)
	if !ok {
		return zero, fmt.Errorf("expected %s, got %v", what, t)
	}
	return v, nil
}
