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

// A LineError reports a line that is not a record.
type LineError struct {
	Path   string
	Line   int   // from 1
	Offset int64 // of the line in the file, in bytes
	Err    error
}

func (e *LineError) Error() string {
	return fmt.Sprintf("reading %s: line %d, at offset %d: %v", e.Path, e.Line, e.Offset, e.Err)
}

func (e *LineError) Unwrap() error { return e.Err }

// A place is where a line begins.
type place struct {
	number int // of the line, from 1
	offset int64
}

// A line is one line of events.jsonl.
type line struct {
	place
	text   []byte // with its newline; reused
	length int64  // of text, or of a line too long to be one
	last   bool   // nothing follows, not even a newline
}

// lines yields the lines of path from a place on. A line that is too long is a
// [LineError], and the next one follows; after any other error nothing does.
func lines(path string, from place) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := os.Open(path)
		if err == nil {
			defer f.Close()
			_, err = f.Seek(from.offset, io.SeekStart)
		}
		if err != nil {
			yield(line{}, fmt.Errorf("reading run: %w", err))
			return
		}
		r := bufio.NewReaderSize(f, maxLine)
		l := line{place: from}
		for {
			l.text, err = r.ReadSlice('\n')
			l.length = int64(len(l.text))
			more := true
			switch {
			case err == io.EOF && l.length == 0:
				return
			case err == nil || err == io.EOF:
				l.last = err == io.EOF
				more = yield(l, nil)
			case errors.Is(err, bufio.ErrBufferFull):
				for ; errors.Is(err, bufio.ErrBufferFull); l.length += int64(len(l.text)) {
					l.text, err = r.ReadSlice('\n')
				}
				if err != nil && err != io.EOF {
					yield(line{}, fmt.Errorf("reading run: %w", err))
					return
				}
				l.text = nil
				more = yield(l, &LineError{path, l.number, l.offset, fmt.Errorf("it is longer than %d bytes", maxLine)})
			default:
				yield(line{}, fmt.Errorf("reading run: %w", err))
				return
			}
			if !more {
				return
			}
			l.offset += l.length
			l.number++
		}
	}
}

// decodeLine decodes a line of path. A last line that lacks no more than its
// newline is whole.
func (d *decoder) decodeLine(path string, l line) error {
	err := d.decode(l.text)
	switch {
	case err == nil:
		return nil
	case l.last:
		return &TornError{path, l.offset, len(l.text)}
	}
	return &LineError{path, l.number, l.offset, err}
}

// Records yields the records of the run in dir in the order they were written,
// without those that a later resume took back: it says from which step the run
// went on, so what was recorded of later steps no longer holds.
//
// A line that is not a record is a [LineError] in its place; whoever goes on
// gets the lines after it. A torn last line ends the sequence with a
// [TornError], which a reader may take for a warning. Any other error ends it.
func Records(dir string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		path := filepath.Join(dir, eventsFile)
		resumes, err := findResumes(path)
		if err != nil {
			yield(Record{}, err)
			return
		}
		var d decoder
		for l, err := range lines(path, place{number: 1}) {
			if err == nil {
				err = d.decodeLine(path, l)
			}
			if err != nil {
				if !yield(Record{}, err) {
					return
				}
				continue
			}
			for len(resumes) > 0 && resumes[0].offset <= l.offset {
				resumes = resumes[1:]
			}
			if len(resumes) > 0 && d.head.Step > resumes[0].least {
				continue
			}
			if !yield(d.record(), nil) {
				return
			}
		}
	}
}

// A resume is a place from which a run went on.
type resume struct {
	offset int64
	least  int64 // the least step that this or a later resume goes back to
}

// findResumes lists the resumes in path. Lines that are no records are not its
// business, nor are those longer than a record may be.
//
// Almost no line is a resume, so it looks for the word through all lines at once.
func findResumes(path string) ([]resume, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading run: %w", err)
	}
	defer f.Close()
	var list []resume
	var d decoder
	block, kept := make([]byte, 2*maxLine), 0 // kept is the beginning of a line,
	inside := false                           // or the rest of one that is too long
	for offset := int64(0); ; {
		n, err := io.ReadFull(f, block[kept:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("reading run: %w", err)
		}
		text := block[:kept+n]
		if err == nil { // more follows
			text = text[:bytes.LastIndexByte(text, '\n')+1]
		}
		for at := 0; ; {
			hit := bytes.Index(text[at:], []byte(`"`+KindResume+`"`))
			if hit < 0 {
				break
			}
			start := bytes.LastIndexByte(text[:at+hit], '\n') + 1
			line := text[start:]
			if end := bytes.IndexByte(line, '\n'); end >= 0 {
				line = line[:end+1]
			}
			whole := len(line) <= maxLine && !(inside && start == 0)
			if whole && d.decode(line) == nil && d.head.Kind == KindResume {
				list = append(list, resume{offset + int64(start), d.head.Step})
			}
			at = start + len(line)
		}
		if err != nil {
			break
		}
		if inside = len(text) == 0; inside {
			text = block[:maxLine]
		}
		kept = copy(block, block[len(text):])
		offset += int64(len(text))
	}
	for i := len(list) - 2; i >= 0; i-- {
		list[i].least = min(list[i].least, list[i+1].least)
	}
	return list, nil
}
