package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The wire types of protocol buffers.
const (
	varint    = 0
	fixed64   = 1
	bytesWire = 2
	fixed32   = 5
)

var errCut = errors.New("a field of its protocol buffer is cut off")

// A message iterates over the fields of a protocol buffer. It stops at the end or
// at err.
type message struct {
	data   []byte
	field  uint64
	wire   int
	number uint64 // of the types varint, fixed64 and fixed32
	bytes  []byte // of the type bytesWire
	err    error
}

// next moves to the next field.
func (m *message) next() bool {
	if len(m.data) == 0 || m.err != nil {
		return false
	}
	key, n := uvarint(m.data)
	if n <= 0 {
		m.err = errCut
		return false
	}
	m.data = m.data[n:]
	m.field, m.wire = key>>3, int(key&7)
	switch m.wire {
	case varint:
		m.number, n = uvarint(m.data)
	case fixed64:
		if n = 8; len(m.data) >= 8 {
			m.number = binary.LittleEndian.Uint64(m.data)
		}
	case fixed32:
		if n = 4; len(m.data) >= 4 {
			m.number = uint64(binary.LittleEndian.Uint32(m.data))
		}
	case bytesWire:
		var length uint64
		if length, n = uvarint(m.data); n > 0 {
			if length > uint64(len(m.data)-n) {
				m.err = errCut
				return false
			}
			m.bytes = m.data[n : n+int(length)]
			n += int(length)
		}
	default:
		m.err = fmt.Errorf("its protocol buffer has a field of the unknown type %d", m.wire)
		return false
	}
	if n <= 0 || n > len(m.data) {
		m.err = errCut
		return false
	}
	m.data = m.data[n:]
	return true
}

// uvarint is binary.Uvarint with its most frequent case first.
func uvarint(data []byte) (uint64, int) {
	if len(data) > 0 && data[0] < 0x80 {
		return uint64(data[0]), 1
	}
	return binary.Uvarint(data)
}
