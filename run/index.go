package run

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const indexFile = "index.sqlite"

// An Index answers questions about a run without reading all its records. It is
// only a view of events.jsonl: OpenIndex adds what was appended since it was
// last opened, and makes it anew when it is missing, damaged, of another version,
// or when the records are not those that it has seen.
type Index struct{ db *sql.DB }

// A Series names what was recorded of a layer, or (Layer "") of the whole system.
type Series struct{ Layer, Name string }

// A Point is one value of a series. It may be NaN or infinite.
type Point struct {
	Step  int64
	Value float64
}

// OpenIndex opens the index of the run in dir, brought up to date. Lines that are
// torn or no records are left out, and the warning says which.
func OpenIndex(dir string) (index *Index, warning string, err error) {
	if err := check(dir); err != nil {
		return nil, "", err
	}
	path := filepath.Join(dir, indexFile)
	index, warning, err = openIndex(dir, path)
	switch sqliteCode(err) {
	case 11, 26: // damaged, or no database at all
		os.Remove(path)
		os.Remove(path + "-journal")
		index, warning, err = openIndex(dir, path)
	case 8, 14: // the folder is only to be read
		index, warning, err = openIndex(dir, ":memory:")
	}
	if err != nil {
		return nil, "", fmt.Errorf("indexing run %s: %w", dir, err)
	}
	return index, warning, nil
}

// sqliteCode returns the result code of an error of SQLite, 0 for any other.
func sqliteCode(err error) int {
	var failure interface{ Code() int }
	if errors.As(err, &failure) {
		return failure.Code() & 0xff // without what extends it
	}
	return 0
}

func openIndex(dir, path string) (*Index, string, error) {
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	db, err := sql.Open("sqlite", "file:"+escaped+"?_pragma=busy_timeout(60000)&_pragma=synchronous(off)&_txlock=immediate")
	if err != nil {
		return nil, "", err
	}
	db.SetMaxOpenConns(1) // in memory, every connection would have its own
	warning, err := update(db, filepath.Join(dir, eventsFile))
	if err != nil {
		return nil, "", errors.Join(err, db.Close())
	}
	return &Index{db}, warning, nil
}

// Close closes the index.
func (x *Index) Close() error { return x.db.Close() }

// List returns the series there are, in the order in which they were first
// recorded: layers come in that of the network.
func (x *Index) List() ([]Series, error) {
	rows, err := x.db.Query(`SELECT layer, name FROM series ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	defer rows.Close()
	var list []Series
	for rows.Next() {
		var s Series
		if err := rows.Scan(&s.Layer, &s.Name); err != nil {
			return nil, fmt.Errorf("reading index: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Series returns the values of one name, of a layer or (layer "") of the whole
// system, by step. What was never recorded is an empty series. Of two values of
// one step the later record counts.
func (x *Index) Series(layer, name string) ([]Point, error) {
	return x.Range(layer, name, math.MinInt64, math.MaxInt64)
}

// Range is Series from one step to another, both included.
func (x *Index) Range(layer, name string, from, to int64) ([]Point, error) {
	rows, err := x.db.Query(`
		SELECT points FROM chunks JOIN series ON chunks.series = series.id
		WHERE layer = ? AND name = ? AND last >= ? AND first <= ? ORDER BY number`, layer, name, from, to)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	defer rows.Close()
	var points []Point
	for rows.Next() {
		var chunk sql.RawBytes
		if err := rows.Scan(&chunk); err != nil {
			return nil, fmt.Errorf("reading index: %w", err)
		}
		for p := range unpack(chunk) {
			if p.Step >= from && p.Step <= to {
				points = append(points, p)
			}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	return byStep(points), nil
}

// byStep sorts points and keeps the last of each step.
func byStep(points []Point) []Point {
	ordered := func(a, b Point) int {
		switch {
		case a.Step < b.Step:
			return -1
		case a.Step > b.Step:
			return 1
		}
		return 0
	}
	if !slices.IsSortedFunc(points, ordered) {
		slices.SortStableFunc(points, ordered)
	}
	kept := points[:0]
	for i, p := range points {
		if i+1 == len(points) || points[i+1].Step != p.Step {
			kept = append(kept, p)
		}
	}
	return kept
}

// A Bucket sums up the points of an interval of steps.
type Bucket struct {
	First, Last    int64   // the steps of its first and last point
	Points         int     // that are finite
	Min, Mean, Max float64 // of the finite points; NaN if there are none
	NotFinite      int     // points that are NaN or infinite
}

// Buckets returns Range summed up in at most n intervals of equal numbers of
// steps, between the first and the last point in the range. Intervals without a
// point are left out. It reads no more points than it must: where intervals are
// long, sums that were made before will do.
func (x *Index) Buckets(layer, name string, from, to int64, n int) ([]Bucket, error) {
	if n < 1 {
		return nil, nil
	}
	chunks, err := x.chunks(layer, name, from, to)
	if err != nil || len(chunks) == 0 {
		return nil, err
	}
	var b buckets
	if b.first, b.width, err = x.bounds(chunks, from, to, n); err != nil {
		return nil, err
	}
	for _, c := range chunks {
		if c.loose == nil && c.sum.First >= from && c.sum.Last <= to && b.of(c.sum.First) == b.of(c.sum.Last) {
			b.merge(c.sum)
			continue
		}
		points, err := x.points(c)
		if err != nil {
			return nil, err
		}
		for _, p := range points {
			if p.Step >= from && p.Step <= to {
				b.at(p.Step).add(p)
			}
		}
	}
	return b.finish(), nil
}

// A summary is a chunk without its points, or points that are no chunk of the
// index, of which only the first and the last step are known.
type summary struct {
	series, number int64
	sum            Bucket
	loose          []Point
}

// chunks returns the chunks of a series that touch a range, in order of steps.
// Where they overlap they are one, of the points that count.
func (x *Index) chunks(layer, name string, from, to int64) ([]summary, error) {
	rows, err := x.db.Query(`
		SELECT series, number, first, last, ordered, finite, min, mean, max, length(points) FROM chunks JOIN series ON chunks.series = series.id
		WHERE layer = ? AND name = ? AND last >= ? AND first <= ? ORDER BY number`, layer, name, from, to)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	defer rows.Close()
	var list []summary
	clean := true
	for rows.Next() {
		var c summary
		var ordered bool
		var size int
		if err := rows.Scan(&c.series, &c.number, &c.sum.First, &c.sum.Last, &ordered, &c.sum.Points, &c.sum.Min, &c.sum.Mean, &c.sum.Max, &size); err != nil {
			return nil, fmt.Errorf("reading index: %w", err)
		}
		c.sum.NotFinite = size/pointSize - c.sum.Points
		clean = clean && ordered && (len(list) == 0 || c.sum.First > list[len(list)-1].sum.Last)
		list = append(list, c)
	}
	if err := rows.Err(); err != nil || clean {
		return list, err
	}
	rows.Close()
	points, err := x.Range(layer, name, from, to)
	if err != nil || len(points) == 0 {
		return nil, err
	}
	return []summary{{sum: Bucket{First: points[0].Step, Last: points[len(points)-1].Step}, loose: points}}, nil
}

// points returns the points of a chunk.
func (x *Index) points(c summary) ([]Point, error) {
	if c.loose != nil {
		return slices.Clone(c.loose), nil
	}
	var chunk []byte
	err := x.db.QueryRow(`SELECT points FROM chunks WHERE series = ? AND number = ?`, c.series, c.number).Scan(&chunk)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	return slices.Collect(unpack(chunk)), nil
}

// bounds returns the step of the first point in a range and the width of n
// intervals from there to the last.
func (x *Index) bounds(chunks []summary, from, to int64, n int) (first int64, width uint64, err error) {
	low, _, err := x.ends(chunks, from, to, 1)
	if err != nil {
		return 0, 0, err
	}
	_, high, err := x.ends(chunks, from, to, -1)
	return low, uint64(high-low)/uint64(n) + 1, err
}

// ends returns the first and the last step in a range of the first chunk, going
// forward (by = 1) or back, that has a point there.
func (x *Index) ends(chunks []summary, from, to int64, by int) (first, last int64, err error) {
	at := 0
	if by < 0 {
		at = len(chunks) - 1
	}
	for ; at >= 0 && at < len(chunks); at += by {
		c := chunks[at]
		if c.sum.First >= from && c.sum.Last <= to {
			return c.sum.First, c.sum.Last, nil
		}
		points, err := x.points(c)
		if err != nil {
			return 0, 0, err
		}
		points = slices.DeleteFunc(points, func(p Point) bool { return p.Step < from || p.Step > to })
		if len(points) > 0 {
			return points[0].Step, points[len(points)-1].Step, nil
		}
	}
	return 0, 0, nil
}

// buckets fills intervals of equal widths, one after the other.
type buckets struct {
	first   int64
	width   uint64
	current uint64
	list    []Bucket
}

// of returns the number of the interval of a step.
func (b *buckets) of(step int64) uint64 { return uint64(step-b.first) / b.width }

// at returns the interval of a step, which lies in the last one or after it.
func (b *buckets) at(step int64) *Bucket {
	if number := b.of(step); len(b.list) == 0 || number != b.current {
		b.current = number
		b.list = append(b.list, Bucket{First: step, Min: math.Inf(1), Max: math.Inf(-1)})
	}
	return &b.list[len(b.list)-1]
}

// merge adds the sum of points that all lie in one interval.
func (b *buckets) merge(sum Bucket) {
	to := b.at(sum.First)
	to.Last = sum.Last
	to.NotFinite += sum.NotFinite
	if sum.Points > 0 {
		to.Points += sum.Points
		to.Min, to.Max = math.Min(to.Min, sum.Min), math.Max(to.Max, sum.Max)
		k := float64(sum.Points) / float64(to.Points)
		to.Mean = to.Mean*(1-k) + sum.Mean*k
	}
}

func (b *buckets) finish() []Bucket {
	for i := range b.list {
		if to := &b.list[i]; to.Points == 0 {
			to.Min, to.Mean, to.Max = math.NaN(), math.NaN(), math.NaN()
		}
	}
	return b.list
}

// Seen returns the length in bytes of the records that the index was made of, and
// the time of their last change in nanoseconds since 1970: while both stay, so do
// its answers.
func (x *Index) Seen() (size, changed int64, err error) {
	s, err := readState(x.db)
	if err != nil {
		return 0, 0, fmt.Errorf("reading index: %w", err)
	}
	return s.size, s.time, nil
}

// Events returns the records that are neither of kind "step" nor "layer", in the
// order they were written, without their values: findings, notes, checkpoints.
// What a resume took back is not among them.
func (x *Index) Events() ([]Record, error) {
	rows, err := x.db.Query(`SELECT time, step, kind, layer, text FROM events ORDER BY rowid`)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	defer rows.Close()
	var list []Record
	for rows.Next() {
		var r Record
		if err := rows.Scan(&r.Time, &r.Step, &r.Kind, &r.Layer, &r.Text); err != nil {
			return nil, fmt.Errorf("reading index: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func (b *Bucket) add(p Point) {
	b.Last = p.Step
	if !finite(p.Value) {
		b.NotFinite++
		return
	}
	b.Points++
	b.Min, b.Max = math.Min(b.Min, p.Value), math.Max(b.Max, p.Value)
	k := 1 / float64(b.Points)
	b.Mean = b.Mean*(1-k) + p.Value*k // neither overflows nor needs a sum
}

// pointSize is the length of a point in a chunk: step, then value, little-endian.
const pointSize = 16

func pack(points []Point) []byte {
	chunk := make([]byte, 0, len(points)*pointSize)
	for _, p := range points {
		chunk = binary.LittleEndian.AppendUint64(chunk, uint64(p.Step))
		chunk = binary.LittleEndian.AppendUint64(chunk, math.Float64bits(p.Value))
	}
	return chunk
}

func unpack(chunk []byte) func(yield func(Point) bool) {
	return func(yield func(Point) bool) {
		for ; len(chunk) >= pointSize; chunk = chunk[pointSize:] {
			p := Point{
				Step:  int64(binary.LittleEndian.Uint64(chunk)),
				Value: math.Float64frombits(binary.LittleEndian.Uint64(chunk[8:])),
			}
			if !yield(p) {
				return
			}
		}
	}
}

// update brings the index up to date with path, in one transaction, so that
// several processes may do so at once and none sees half of it.
func update(db *sql.DB, path string) (warning string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	now := state{version: indexVersion, size: info.Size(), time: info.ModTime().UnixNano()}
	old, err := readState(db)
	if err == nil && old.sees(now) {
		return old.warning, nil
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() // does nothing after Commit
	if old, err = readState(tx); err == nil && old.sees(now) {
		return old.warning, nil // another process was faster
	}
	if err != nil || !old.begins(path, now) {
		old = state{next: place{number: 1}}
		if _, err := tx.Exec(layout); err != nil {
			return "", err
		}
	}
	b := builder{tx: tx, path: path, next: old.next, warning: old.lasting, lasting: old.lasting}
	if err := b.read(); err != nil {
		return "", err
	}
	now.next, now.warning, now.lasting = b.next, b.warning, b.lasting
	if now.tail, err = tail(path, b.next.offset); err != nil {
		return "", err
	}
	if err := now.write(tx); err != nil {
		return "", err
	}
	return now.warning, tx.Commit()
}

// Steps returns the steps of the first and the last value that was recorded; both
// are 0 if none was.
func (x *Index) Steps() (first, last int64, err error) {
	err = x.db.QueryRow(`
		SELECT coalesce(min((SELECT first FROM chunks WHERE series = id ORDER BY number LIMIT 1)), 0),
			coalesce(max((SELECT last FROM chunks WHERE series = id ORDER BY number DESC LIMIT 1)), 0) FROM series`).Scan(&first, &last)
	if err != nil {
		return 0, 0, fmt.Errorf("reading index: %w", err)
	}
	return first, last, nil
}
