package run

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// maxLine bounds the length of one record in bytes.
const maxLine = 1 << 20

// A TornError reports a last line without its end: the writer was killed, or is
// at work on it.
type TornError struct {
	Path   string
	Offset int64 // of the line
	Bytes  int   // that are there
}

func (e *TornError) Error() string {
	return fmt.Sprintf("%s: the last line, at offset %d, is torn after %d bytes and was skipped", e.Path, e.Offset, e.Bytes)
}

// A line is one whole line of events.jsonl.
type line struct {
	text   []byte // reused
	number int
	offset int64
}

// lines yields the whole lines of the run in dir, and last a [TornError] if the
// file does not end with a newline.
func lines(dir string) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		path := filepath.Join(dir, eventsFile)
		f, err := os.Open(path)
		if err != nil {
			yield(line{}, fmt.Errorf("reading run: %w", err))
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, maxLine)
		l := line{number: 1}
		for {
			l.text, err = r.ReadSlice('\n')
			switch {
			case err == io.EOF && len(l.text) == 0:
				return
			case err == io.EOF:
				yield(line{}, &TornError{path, l.offset, len(l.text)})
				return
			case errors.Is(err, bufio.ErrBufferFull):
				yield(line{}, fmt.Errorf("reading %s: line %d, at offset %d, is longer than %d bytes", path, l.number, l.offset, maxLine))
				return
			case err != nil:
				yield(line{}, fmt.Errorf("reading %s: %w", path, err))
				return
			}
			if !yield(l, nil) {
				return
			}
			l.offset += int64(len(l.text))
			l.number++
		}
	}
}

// Records yields the records of the run in dir in the order they were written,
// without those that a later resume took back: it says from which step the run
// went on, so what was recorded of later steps no longer holds.
//
// A torn last line ends the sequence with a [TornError], which a reader may take
// for a warning. A line that is not a record ends it with an error that names
// the line.
func Records(dir string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		resumes, err := findResumes(dir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for l, err := range lines(dir) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			record, err := parse(dir, l)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for len(resumes) > 0 && resumes[0].offset <= l.offset {
				resumes = resumes[1:]
			}
			if len(resumes) > 0 && record.Step > resumes[0].least {
				continue
			}
			if !yield(record, nil) {
				return
			}
		}
	}
}

func parse(dir string, l line) (Record, error) {
	var record Record
	if err := record.UnmarshalJSON(l.text); err != nil {
		return record, fmt.Errorf("reading %s: line %d, at offset %d: %w", filepath.Join(dir, eventsFile), l.number, l.offset, err)
	}
	return record, nil
}

// A resume is a place from which a run went on.
type resume struct {
	offset int64
	least  int64 // the least step that this or a later resume goes back to
}

func findResumes(dir string) ([]resume, error) {
	var list []resume
	for l, err := range lines(dir) {
		var torn *TornError
		if errors.As(err, &torn) {
			break
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(l.text, []byte(`"`+KindResume+`"`)) {
			continue
		}
		record, err := parse(dir, l)
		if err != nil {
			return nil, err
		}
		if record.Kind == KindResume {
			list = append(list, resume{l.offset, record.Step})
		}
	}
	for i := len(list) - 2; i >= 0; i-- {
		list[i].least = min(list[i].least, list[i+1].least)
	}
	return list, nil
}
