package run

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// indexVersion changes with the layout of index.sqlite.
const indexVersion = 3

const layout = `
	DROP TABLE IF EXISTS state;
	DROP TABLE IF EXISTS series;
	DROP TABLE IF EXISTS chunks;
	DROP TABLE IF EXISTS events;
	CREATE TABLE state (version INTEGER, size INTEGER, time INTEGER, line INTEGER, offset INTEGER, tail BLOB, warning TEXT, lasting TEXT);
	CREATE TABLE series (id INTEGER PRIMARY KEY, layer TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (layer, name));
	CREATE TABLE chunks (series INTEGER, number INTEGER, first INTEGER, last INTEGER,
		ordered INTEGER, finite INTEGER, min REAL, mean REAL, max REAL, points BLOB, PRIMARY KEY (series, number));
	CREATE TABLE events (time REAL, step INTEGER, kind TEXT, layer TEXT, text TEXT)`

// A state says what an index has seen of events.jsonl.
type state struct {
	version    int
	size, time int64  // of the file then
	next       place  // the line to go on from
	tail       []byte // what is before it in the file
	warning    string // of what was left out
	lasting    string // the warning, without what a later look may find whole
}

type querier interface {
	QueryRow(query string, args ...any) *sql.Row
}

func readState(q querier) (s state, err error) {
	err = q.QueryRow(`SELECT version, size, time, line, offset, tail, warning, lasting FROM state`).
		Scan(&s.version, &s.size, &s.time, &s.next.number, &s.next.offset, &s.tail, &s.warning, &s.lasting)
	return s, err
}

func (s state) write(tx *sql.Tx) error {
	if _, err := tx.Exec(`DELETE FROM state`); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		s.version, s.size, s.time, s.next.number, s.next.offset, s.tail, s.warning, s.lasting)
	return err
}

// sees reports whether an index in this state is up to date with a file.
func (s state) sees(file state) bool {
	return s.version == file.version && s.size == file.size && s.time == file.time
}

// begins reports whether the file at path begins with what the index has seen.
// It compares the end of that part: the file is only ever appended to.
func (s state) begins(path string, file state) bool {
	if s.version != file.version || file.size < s.next.offset || file.size == s.size {
		return false
	}
	found, err := tail(path, s.next.offset)
	return err == nil && bytes.Equal(found, s.tail)
}

// tail returns up to 256 bytes before an offset of path.
func tail(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, min(offset, 256))
	if _, err := io.ReadFull(io.NewSectionReader(f, offset-int64(len(b)), int64(len(b))), b); err != nil {
		return nil, err
	}
	return b, nil
}

// chunkPoints is the number of points in a chunk: enough to make reading a long
// series fast, few enough to hold one of every series in memory.
const chunkPoints = 512

// maxWarning is the length of a warning from which on no more lines are named.
const maxWarning = 512

// A builder appends records to an index.
type builder struct {
	tx      *sql.Tx
	path    string
	next    place // the first line that is not in the index for good
	warning string
	lasting string
	open    map[Series]*chunk
}

// A chunk is the last one of a series, not yet written.
type chunk struct {
	series, number int64
	points         []Point
}

// read appends what the file holds from b.next on.
func (b *builder) read() error {
	b.open = map[Series]*chunk{}
	var d decoder
	for l, err := range lines(b.path, b.next) {
		if err == nil {
			err = d.decodeLine(b.path, l)
		}
		var torn *TornError
		var bad *LineError
		switch {
		case errors.As(err, &torn):
			b.warning = join(b.lasting, torn.Error())
			return b.flush()
		case errors.As(err, &bad):
			if len(b.lasting) < maxWarning {
				b.lasting = join(b.lasting, bad.Error())
				b.warning = b.lasting
			}
			b.next = place{l.number + 1, l.offset + l.length}
			continue
		case err != nil:
			return err
		}
		if d.head.Kind == KindResume {
			if err := b.resume(d.head.Step); err != nil {
				return err
			}
		}
		if h := d.head; h.Kind != KindStep && h.Kind != KindLayer && !l.last {
			if _, err := b.tx.Exec(`INSERT INTO events VALUES (?, ?, ?, ?, ?)`, h.Time, h.Step, h.Kind, h.Layer, h.Text); err != nil {
				return err
			}
		}
		for _, f := range d.fields {
			if err := b.add(Series{d.head.Layer, f.name}, Point{d.head.Step, f.value}); err != nil {
				return err
			}
		}
		if !l.last { // else it is read again with its newline: a step counts once
			b.next = place{l.number + 1, l.offset + l.length}
		}
	}
	return b.flush()
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

func (b *builder) add(s Series, p Point) error {
	c, ok := b.open[s]
	if !ok {
		var err error
		if c, err = b.last(s); err != nil {
			return err
		}
		b.open[s] = c
	}
	c.points = append(c.points, p)
	if len(c.points) < chunkPoints {
		return nil
	}
	err := b.write(c)
	c.number, c.points = c.number+1, c.points[:0]
	return err
}

// last returns the last chunk of a series if there is room in it, else a new one.
func (b *builder) last(s Series) (*chunk, error) {
	if _, err := b.tx.Exec(`INSERT OR IGNORE INTO series (layer, name) VALUES (?, ?)`, s.Layer, s.Name); err != nil {
		return nil, err
	}
	var c chunk
	if err := b.tx.QueryRow(`SELECT id FROM series WHERE layer = ? AND name = ?`, s.Layer, s.Name).Scan(&c.series); err != nil {
		return nil, err
	}
	var points []byte
	err := b.tx.QueryRow(`SELECT number, points FROM chunks WHERE series = ? ORDER BY number DESC LIMIT 1`, c.series).Scan(&c.number, &points)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return &c, nil
	case err != nil:
		return nil, err
	case len(points) >= chunkPoints*pointSize:
		c.number++
		return &c, nil
	}
	for p := range unpack(points) {
		c.points = append(c.points, p)
	}
	return &c, nil
}

func (b *builder) write(c *chunk) error {
	if len(c.points) == 0 {
		return nil
	}
	first, last := c.points[0].Step, c.points[0].Step
	for _, p := range c.points {
		first, last = min(first, p.Step), max(last, p.Step)
	}
	sum := Bucket{Min: math.Inf(1), Max: math.Inf(-1)}
	ordered := true
	for i, p := range c.points {
		sum.add(p)
		ordered = ordered && (i == 0 || p.Step > c.points[i-1].Step)
	}
	_, err := b.tx.Exec(`INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.series, c.number, first, last,
		ordered, sum.Points, sum.Min, sum.Mean, sum.Max, pack(c.points))
	return err
}

func (b *builder) flush() error {
	for _, c := range b.open {
		if err := b.write(c); err != nil {
			return err
		}
	}
	clear(b.open)
	return nil
}

// resume takes back the points of later steps.
func (b *builder) resume(step int64) error {
	if err := b.flush(); err != nil {
		return err
	}
	if _, err := b.tx.Exec(`DELETE FROM events WHERE step > ?`, step); err != nil {
		return err
	}
	rows, err := b.tx.Query(`SELECT series, number, points FROM chunks WHERE last > ?`, step)
	if err != nil {
		return err
	}
	defer rows.Close()
	var cut []*chunk
	for rows.Next() {
		var c chunk
		var points sql.RawBytes
		if err := rows.Scan(&c.series, &c.number, &points); err != nil {
			return err
		}
		for p := range unpack(points) {
			if p.Step <= step {
				c.points = append(c.points, p)
			}
		}
		cut = append(cut, &c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if _, err := b.tx.Exec(`DELETE FROM chunks WHERE last > ?`, step); err != nil {
		return err
	}
	for _, c := range cut {
		if err := b.write(c); err != nil {
			return fmt.Errorf("taking back steps after %d: %w", step, err)
		}
	}
	return nil
}
