// Package logs reads what training programs log besides the records of package
// run: the event files of TensorBoard, CSV tables, and JSON lines.
//
// Files are treated as hostile: a length is compared with what is there before
// it is believed, and a file that ends early gives what was whole before that.
package logs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Point is one number that was logged.
type Point struct {
	Step  int64
	Time  float64 // seconds since 1970, 0 when not logged
	Name  string
	Value float64 // may be NaN or infinite
}

// A TornError reports a file that ends within a record: the writer was killed,
// or is at work. What was yielded before it is whole.
type TornError struct {
	Path   string
	Offset int64 // of the record
}

func (e *TornError) Error() string {
	return fmt.Sprintf("%s: the record at offset %d is torn and was skipped", e.Path, e.Offset)
}

// Read yields the points of a log in the order they were written: of an event
// file of TensorBoard, of a folder of them in the order of their names, of a CSV
// file, or of JSON lines. The content decides which it is. A [TornError] may be
// taken for a warning; after any other error nothing follows.
func Read(path string) iter.Seq2[Point, error] {
	return func(yield func(Point, error) bool) {
		files, err := list(path)
		if err != nil {
			yield(Point{}, fmt.Errorf("reading log: %w", err))
			return
		}
		for _, name := range files {
			for p, err := range readFile(name) {
				var torn *TornError
				if !yield(p, err) || err != nil && !errors.As(err, &torn) {
					return
				}
			}
		}
	}
}

// list returns path, or the event files in it if it is a folder.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.Contains(e.Name(), "tfevents") {
			files = append(files, name)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s holds no event files (named *tfevents*)", path)
	}
	slices.SortStableFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return files, err
}

func readFile(path string) iter.Seq2[Point, error] {
	return func(yield func(Point, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Point{}, fmt.Errorf("reading log: %w", err))
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			yield(Point{}, fmt.Errorf("reading log: %w", err))
			return
		}
		r := bufio.NewReaderSize(f, 1<<18)
		head, err := r.Peek(12)
		if err != nil && err != io.EOF {
			yield(Point{}, fmt.Errorf("reading log %s: %w", path, err))
			return
		}
		points := table(path, r)
		switch first := bytes.TrimLeft(bytes.TrimPrefix(head, byteOrderMark), " \t\r\n"); {
		case len(head) == 0:
			if strings.Contains(filepath.Base(path), "tfevents") {
				return // TensorBoard makes the file before it writes
			}
			yield(Point{}, fmt.Errorf("reading log %s: the file is empty", path))
			return
		case isEvents(head) || strings.Contains(filepath.Base(path), "tfevents"):
			points = events(path, r, info.Size())
		case len(first) > 0 && first[0] == '{':
			points = jsonLines(path, r)
		}
		points(yield)
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")
