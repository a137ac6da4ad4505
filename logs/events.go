package logs

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
)

// An event file is a sequence of records: the length of the data (8 bytes), its
// checksum (4), the data, its checksum (4). The data are a protocol buffer,
// tensorflow.Event.

// Numbers of fields (tensorflow/core/util/event.proto and its kin).
const (
	eventTime    = 1
	eventStep    = 2
	eventSummary = 5
	summaryValue = 1
	valueTag     = 1
	valueSimple  = 2
	valueTensor  = 8
	tensorType   = 1
	tensorBytes  = 4
	tensorFloat  = 5
	tensorDouble = 6
	tensorInt    = 7
	tensorLong   = 10
)

// Types of tensors that are read as a number if they have one element.
const (
	typeFloat  = 1
	typeDouble = 2
	typeInt    = 3
	typeLong   = 9
)

// mostRecord is the largest record that is read; larger ones, of images say, are
// passed over.
const mostRecord = 1 << 24

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum that the format stores.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// isEvents tells an event file by the checksum of its first length.
func isEvents(head []byte) bool {
	return len(head) == 12 && masked(head[:8]) == binary.LittleEndian.Uint32(head[8:])
}

// events yields the scalars of an event file of the given size.
func events(path string, r *bufio.Reader, size int64) iter.Seq2[Point, error] {
	return func(yield func(Point, error) bool) {
		var d eventDecoder
		var data []byte
		at := int64(0)
		fail := func(format string, args ...any) {
			yield(Point{}, fmt.Errorf("reading %s: record at offset %d: %w", path, at, fmt.Errorf(format, args...)))
		}
		for at < size {
			head, err := r.Peek(12)
			if err == io.EOF {
				yield(Point{}, &TornError{path, at})
				return
			}
			if err != nil {
				fail("%w", err)
				return
			}
			if !isEvents(head) {
				fail("the checksum of its length is wrong: the file is damaged, or is no event file")
				return
			}
			length := binary.LittleEndian.Uint64(head)
			if length > uint64(size-at) || at+int64(length)+16 > size {
				yield(Point{}, &TornError{path, at})
				return
			}
			_, _ = r.Discard(12) // was peeked
			if length > mostRecord {
				if _, err := io.CopyN(io.Discard, r, int64(length)+4); err != nil {
					fail("%w", err)
					return
				}
				at += int64(length) + 16
				continue
			}
			if data, err = peek(r, data, int(length)+4); err != nil {
				yield(Point{}, &TornError{path, at})
				return
			}
			if masked(data[:length]) != binary.LittleEndian.Uint32(data[length:]) {
				fail("its checksum is wrong: the file is damaged")
				return
			}
			if err := d.event(data[:length]); err != nil {
				fail("%w", err)
				return
			}
			for _, p := range d.points {
				if !yield(p, nil) {
					return
				}
			}
			at += int64(length) + 16
		}
	}
}

// peek reads the next n bytes, into room if the reader's own does not suffice.
func peek(r *bufio.Reader, room []byte, n int) ([]byte, error) {
	if n <= r.Size() {
		data, err := r.Peek(n)
		if err == nil {
			_, err = r.Discard(n) // data stay until the next read
		}
		return data, err
	}
	if cap(room) < n {
		room = make([]byte, n)
	}
	_, err := io.ReadFull(r, room[:n])
	return room[:n], err
}

// An eventDecoder decodes one event after the other.
type eventDecoder struct {
	points []Point
	tags   map[string]string // those that repeat, to be allocated once
	last   string
}

const mostTags = 1 << 14 // remembered: a file may hold any number

func (d *eventDecoder) event(data []byte) error {
	d.points = d.points[:0]
	var step int64
	var time float64
	m := message{data: data}
	for m.next() {
		switch {
		case m.field == eventTime && m.wire == fixed64:
			time = math.Float64frombits(m.number)
		case m.field == eventStep && m.wire == varint:
			step = int64(m.number)
		case m.field == eventSummary && m.wire == bytesWire:
			if err := d.summary(m.bytes); err != nil {
				return err
			}
		}
	}
	if m.err != nil {
		return m.err
	}
	for i := range d.points {
		d.points[i].Step, d.points[i].Time = step, time
	}
	return nil
}

func (d *eventDecoder) summary(data []byte) error {
	m := message{data: data}
	for m.next() {
		if m.field != summaryValue || m.wire != bytesWire {
			continue
		}
		var tag []byte
		value, found := 0.0, false
		v := message{data: m.bytes}
		for v.next() {
			switch {
			case v.field == valueTag && v.wire == bytesWire:
				tag = v.bytes
			case v.field == valueSimple && v.wire == fixed32:
				value, found = float64(math.Float32frombits(uint32(v.number))), true
			case v.field == valueTensor && v.wire == bytesWire:
				value, found = scalar(v.bytes)
			}
		}
		if v.err != nil {
			return v.err
		}
		if found && len(tag) > 0 {
			d.points = append(d.points, Point{Name: d.name(tag), Value: value})
		}
	}
	return m.err
}

// name returns a tag as a string, the same one for the same tag.
func (d *eventDecoder) name(tag []byte) string {
	if string(tag) == d.last {
		return d.last
	}
	s, ok := d.tags[string(tag)]
	if !ok {
		s = string(tag)
		if d.tags == nil {
			d.tags = map[string]string{}
		}
		if len(d.tags) < mostTags {
			d.tags[s] = s
		}
	}
	d.last = s
	return s
}

// scalar returns the number that a tensor of one element holds.
func scalar(data []byte) (value float64, ok bool) {
	var kind uint64
	var content, floats, doubles []byte
	var integer uint64
	integers := 0
	m := message{data: data}
	for m.next() {
		switch {
		case m.field == tensorType && m.wire == varint:
			kind = m.number
		case m.field == tensorBytes && m.wire == bytesWire:
			content = m.bytes
		case m.field == tensorFloat && m.wire == bytesWire:
			floats = m.bytes
		case m.field == tensorFloat && m.wire == fixed32:
			return float64(math.Float32frombits(uint32(m.number))), true
		case m.field == tensorDouble && m.wire == bytesWire:
			doubles = m.bytes
		case m.field == tensorDouble && m.wire == fixed64:
			return math.Float64frombits(m.number), true
		case (m.field == tensorInt || m.field == tensorLong) && m.wire == varint:
			integer, integers = m.number, integers+1
		case (m.field == tensorInt || m.field == tensorLong) && m.wire == bytesWire:
			n, size := binary.Uvarint(m.bytes)
			if size > 0 && size == len(m.bytes) {
				integer, integers = n, integers+1
			}
		}
	}
	if m.err != nil {
		return 0, false
	}
	if len(content) > 0 {
		floats, doubles = content, content
	}
	switch {
	case kind == typeFloat && len(floats) == 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(floats))), true
	case kind == typeDouble && len(doubles) == 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(doubles)), true
	case kind == typeInt && len(content) == 4:
		return float64(int32(binary.LittleEndian.Uint32(content))), true
	case kind == typeLong && len(content) == 8:
		return float64(int64(binary.LittleEndian.Uint64(content))), true
	case (kind == typeInt || kind == typeLong) && integers == 1:
		return float64(int64(integer)), true
	}
	return 0, false
}
