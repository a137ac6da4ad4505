package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Wire types of the protocol-buffer encoding.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

var errTruncated = errors.New("truncated, or not an ONNX model")

// A field is one field of a message: number holds what is not bytes.
type field struct {
	id, wire int
	number   uint64
	bytes    []byte
}

// eachField calls visit with every field of an encoded message in turn.
func eachField(message []byte, visit func(field) error) error {
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
			return errTruncated
		}
		message = message[n:]
		f := field{id: int(key >> 3), wire: int(key & 7)}
		switch f.wire {
		case wireVarint:
			if f.number, n = binary.Uvarint(message); n <= 0 {
				return errTruncated
			}
		case wireFixed32:
			if n = 4; len(message) < n {
				return errTruncated
			}
			f.number = uint64(binary.LittleEndian.Uint32(message))
		case wireFixed64:
			if n = 8; len(message) < n {
				return errTruncated
			}
			f.number = binary.LittleEndian.Uint64(message)
		case wireBytes:
			size, m := binary.Uvarint(message)
			if m <= 0 || size > uint64(len(message)-m) {
				return errTruncated
			}
			n = m + int(size)
			f.bytes = message[m:n]
		default:
			return errTruncated
		}
		message = message[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// text returns the field as a string, "" if it is none.
func (f field) text() string { return string(f.bytes) }

// integers appends a repeated integer field, packed or not.
func (f field) integers(to []int64) ([]int64, error) {
	if f.wire != wireBytes {
		return append(to, int64(f.number)), nil
	}
	for rest := f.bytes; len(rest) > 0; {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			return nil, errTruncated
		}
		to, rest = append(to, int64(v)), rest[n:]
	}
	return to, nil
}

// packed appends a repeated fixed-width field of the given bytes an element to
// raw little-endian bytes.
func (f field) packed(to []byte, width int) ([]byte, error) {
	switch {
	case f.wire == wireBytes && len(f.bytes)%width == 0:
		return append(to, f.bytes...), nil
	case f.wire == wireFixed32 && width == 4:
		return binary.LittleEndian.AppendUint32(to, uint32(f.number)), nil
	case f.wire == wireFixed64 && width == 8:
		return binary.LittleEndian.AppendUint64(to, f.number), nil
	}
	return nil, fmt.Errorf("field %d: expected numbers of %d bytes", f.id, width)
}
