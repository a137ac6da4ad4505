// Package run keeps training runs on disk. A run is a folder:
//
//	model.json     what was trained, and how: one JSON document
//	events.jsonl   what was seen, one [Record] a line, only ever appended to
//	checkpoints/   the weights, one safetensors file a step
//	index.sqlite   a fast view of events.jsonl, made again whenever it is missing or old
//	writer.lock    held by the process that writes
//
// docs/run-format.md describes the records, so that any program can write them.
package run

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The files of a run.
const (
	modelFile   = "model.json"
	eventsFile  = "events.jsonl"
	checkpoints = "checkpoints"
	lockFile    = "writer.lock"
	newPrefix   = ".new-" // of files that are not yet whole
)

// ErrNotRun is wrapped by the error of opening a folder that is not a run.
var ErrNotRun = errors.New("not a run folder")

// A Run is a run opened for writing. Its methods may be called from several
// goroutines; only one process at a time can hold a run.
type Run struct {
	Dir string

	mu     sync.Mutex
	events *os.File
	lock   *os.File
	lines  []byte // room for what is being appended
	torn   bool   // a write failed and may have left part of a line
}

// Create makes a run in dir, which must not exist or be empty, with model as its
// model.json.
func Create(dir string, model any) (*Run, error) {
	document, err := json.MarshalIndent(model, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("creating run %s: %w", dir, err)
	}
	if err := empty(dir); err != nil { // before a lock is left in a folder of others
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating run: %w", err)
	}
	r, err := open(dir)
	if err != nil {
		return nil, err
	}
	err = empty(dir)
	if err == nil {
		err = writeWhole(filepath.Join(dir, modelFile), append(document, '\n'))
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// empty returns an error if dir holds more than a Create that was killed leaves.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("creating run: %w", err)
	}
	for _, e := range entries {
		left := e.Name() == lockFile || strings.HasPrefix(e.Name(), newPrefix)
		switch e.Name() {
		case checkpoints:
			inside, err := os.ReadDir(filepath.Join(dir, checkpoints))
			left = err == nil && len(inside) == 0
		case eventsFile:
			info, err := e.Info()
			left = err == nil && info.Size() == 0
		}
		if !left {
			return fmt.Errorf("creating run: %s is not empty: it holds %s", dir, e.Name())
		}
	}
	return nil
}

// Open opens the run in dir for appending. If its last line was torn by a
// writer that was killed, that line is cut off, and the warning says so. It
// fails if another process holds the run, naming that process.
func Open(dir string) (r *Run, warning string, err error) {
	if err := check(dir); err != nil {
		return nil, "", err
	}
	if r, err = open(dir); err != nil {
		return nil, "", err
	}
	if warning, err = r.repair(); err != nil {
		return nil, "", errors.Join(err, r.Close())
	}
	return r, warning, nil
}

func check(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("opening run %s: %w: no such folder", dir, ErrNotRun)
	}
	if _, err := os.Stat(filepath.Join(dir, modelFile)); err != nil {
		return fmt.Errorf("opening run %s: %w: no %s", dir, ErrNotRun, modelFile)
	}
	return nil
}

func open(dir string) (*Run, error) {
	lock, err := acquire(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("opening run %s: %w", dir, err)
	}
	err = os.MkdirAll(filepath.Join(dir, checkpoints), 0o755)
	if err == nil {
		var events *os.File
		if events, err = os.OpenFile(filepath.Join(dir, eventsFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644); err == nil {
			return &Run{Dir: dir, events: events, lock: lock}, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("opening run: %w", err), release(lock))
}

// repair cuts off what follows the last newline, unless only the newline itself
// is missing from it.
func (r *Run) repair() (warning string, err error) {
	info, err := r.events.Stat()
	if err != nil {
		return "", fmt.Errorf("opening run: %w", err)
	}
	size := info.Size()
	whole := int64(0)
	block := make([]byte, 1<<16)
	for end := size; end > 0; {
		start := max(0, end-int64(len(block)))
		part := block[:end-start]
		if _, err := r.events.ReadAt(part, start); err != nil {
			return "", fmt.Errorf("opening run: %w", err)
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			whole = start + int64(i) + 1
			break
		}
		end = start
	}
	if whole == size {
		return "", nil
	}
	if size-whole < maxLine {
		tail := make([]byte, size-whole)
		if _, err := r.events.ReadAt(tail, whole); err != nil {
			return "", fmt.Errorf("opening run: %w", err)
		}
		if new(decoder).decode(tail) == nil {
			if _, err := r.events.WriteString("\n"); err != nil {
				return "", fmt.Errorf("opening run: %w", err)
			}
			return "", nil
		}
	}
	if err := r.events.Truncate(whole); err != nil {
		return "", fmt.Errorf("opening run: %w", err)
	}
	return fmt.Sprintf("%s: the last line was torn: %d bytes at offset %d cut off", r.events.Name(), size-whole, whole), nil
}

// Append writes records at the end of events.jsonl by one write, so that a
// process that is killed leaves whole lines and at most one torn one. A record
// with a Time of zero gets the present. If Append fails, the disk being full
// say, it keeps none of the records, and may be called again.
func (r *Run) Append(records ...Record) error {
	now := float64(time.Now().UnixMilli()) / 1000
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = r.lines[:0]
	for _, record := range records {
		if record.Time == 0 {
			record.Time = now
		}
		before := len(r.lines)
		lines, err := record.append(r.lines)
		if err != nil {
			return fmt.Errorf("appending to %s: %w", r.Dir, err)
		}
		if r.lines = append(lines, '\n'); len(r.lines)-before > maxLine {
			return fmt.Errorf("appending to %s: a record of %d bytes: at most %d are allowed", r.Dir, len(r.lines)-before, maxLine)
		}
	}
	return r.write(r.lines)
}

// AppendLines appends lines that are written already, every one a whole record
// with its newline, as Append does. If one is no record, it keeps none of them
// and returns a [LineError].
func (r *Run) AppendLines(lines []byte) error {
	var d decoder
	for number, at := 1, 0; at < len(lines); number++ {
		length := bytes.IndexByte(lines[at:], '\n') + 1
		err := error(nil)
		switch {
		case length == 0:
			err = errors.New("it has no newline")
		case length > maxLine:
			err = fmt.Errorf("it has %d bytes: at most %d are allowed", length, maxLine)
		default:
			err = d.decode(lines[at : at+length-1])
		}
		if err != nil {
			return &LineError{Path: r.events.Name(), Line: number, Offset: int64(at), Err: err}
		}
		at += length
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write(lines)
}

// write appends whole lines by one write, all or none. The caller holds r.mu.
func (r *Run) write(lines []byte) error {
	if r.torn {
		if _, err := r.repair(); err != nil {
			return fmt.Errorf("appending to run, after a write that failed: %w", err)
		}
		r.torn = false
	}
	info, err := r.events.Stat()
	if err != nil {
		return fmt.Errorf("appending to run: %w", err)
	}
	if _, err := r.events.Write(lines); err != nil {
		r.torn = r.events.Truncate(info.Size()) != nil
		return fmt.Errorf("appending to run: %w", err)
	}
	return nil
}

// Size returns the length of events.jsonl, in bytes.
func (r *Run) Size() (int64, error) {
	info, err := r.events.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at a run: %w", err)
	}
	return info.Size(), nil
}

// ReadAt reads what was written to events.jsonl, as io.ReaderAt does.
func (r *Run) ReadAt(p []byte, offset int64) (int, error) { return r.events.ReadAt(p, offset) }

// Checkpoint registers the weights of a step: save writes them to the path it is
// given; when they are whole, and what was recorded before them is on the disk,
// they get their name, and a record names them.
func (r *Run) Checkpoint(step int64, save func(path string) error) error {
	name := fmt.Sprintf("step-%09d.safetensors", step)
	folder := filepath.Join(r.Dir, checkpoints)
	temporary := filepath.Join(folder, newPrefix+name)
	defer os.Remove(temporary) // fails after the rename
	if err := save(temporary); err != nil {
		return err
	}
	r.mu.Lock()
	err := r.events.Sync()
	r.mu.Unlock()
	if err == nil {
		err = os.Rename(temporary, filepath.Join(folder, name))
	}
	if err != nil {
		return fmt.Errorf("checkpoint of run: %w", err)
	}
	return r.Append(Record{Step: step, Kind: KindCheckpoint, Text: checkpoints + "/" + name})
}

// Close releases the run.
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.events.Sync(), r.events.Close(), release(r.lock))
}

// Model decodes the model.json of the run in dir into model.
func Model(dir string, model any) error {
	if err := check(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, modelFile)
	document, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("opening run: %w", err)
	}
	if err := json.Unmarshal(document, model); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// A Checkpoint is the weights of one step of a run.
type Checkpoint struct {
	Step int64
	Path string
}

// Checkpoints lists the weights of the run in dir, by step.
func Checkpoints(dir string) ([]Checkpoint, error) {
	entries, err := os.ReadDir(filepath.Join(dir, checkpoints))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the checkpoints of a run: %w", err)
	}
	var list []Checkpoint
	for _, e := range entries {
		number, starts := strings.CutPrefix(e.Name(), "step-")
		number, ends := strings.CutSuffix(number, ".safetensors")
		if step, err := strconv.ParseInt(number, 10, 64); starts && ends && err == nil && step >= 0 {
			list = append(list, Checkpoint{step, filepath.Join(dir, checkpoints, e.Name())})
		}
	}
	slices.SortFunc(list, func(a, b Checkpoint) int { return cmp.Compare(a.Step, b.Step) })
	return list, nil
}

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), newPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Sync(), temporary.Chmod(0o644), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
