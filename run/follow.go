package run

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
)

// A Follower reads the records of a run while they are written.
type Follower struct {
	path  string
	place place
	d     decoder
}

// Follow returns a follower at the beginning of the run in dir.
func Follow(dir string) (*Follower, error) {
	if err := check(dir); err != nil {
		return nil, err
	}
	return &Follower{path: filepath.Join(dir, eventsFile), place: place{number: 1}}, nil
}

// Next yields the records that were appended since it was last called, as they
// were written: what a later resume takes back is there, and then the resume.
// A last line without its newline waits for the rest of it. A line that is not a
// record is a [LineError] in its place; whoever goes on gets the lines after it.
// A file that became shorter than what was read is an error that ends the sequence.
func (f *Follower) Next() iter.Seq2[Record, error] { return f.read(false) }

// End is Next when nobody writes any more: it also yields a last line that lacks
// its newline, which is a [TornError] if more is missing.
func (f *Follower) End() iter.Seq2[Record, error] { return f.read(true) }

func (f *Follower) read(end bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		info, err := os.Stat(f.path)
		if errors.Is(err, os.ErrNotExist) {
			return // the writer has not begun
		}
		if err == nil && info.Size() < f.place.offset {
			err = fmt.Errorf("%s became shorter: it has %d bytes, and %d were read before", f.path, info.Size(), f.place.offset)
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("following run: %w", err))
			return
		}
		for l, err := range lines(f.path, f.place) {
			var bad *LineError
			if err != nil && !errors.As(err, &bad) {
				yield(Record{}, err)
				return
			}
			if err == nil && l.last && !end {
				return
			}
			f.place = place{l.number + 1, l.offset + l.length}
			if err == nil {
				err = f.d.decodeLine(f.path, l)
			}
			var r Record
			if err == nil {
				r = f.d.record()
			}
			if !yield(r, err) {
				return
			}
		}
	}
}
