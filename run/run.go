// Package run keeps training runs on disk. A run is a folder:
//
//	model.json     what was trained, and how: one JSON document
//	events.jsonl   what was seen, one [Record] a line, only ever appended to
//	checkpoints/   the weights, one safetensors file a step
//	index.sqlite   a fast view of events.jsonl, made again whenever it is missing or old
//
// docs/run-format.md describes the records, so that any program can write them.
package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
}

// Create makes a run in dir, which must not exist or be empty, with model as its
// model.json.
func Create(dir string, model any) (*Run, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("creating run: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("creating run: %s is not empty", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, checkpoints), 0o755); err != nil {
		return nil, fmt.Errorf("creating run: %w", err)
	}
	document, err := json.MarshalIndent(model, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("creating run %s: %w", dir, err)
	}
	if err := writeWhole(filepath.Join(dir, modelFile), append(document, '\n')); err != nil {
		return nil, fmt.Errorf("creating run: %w", err)
	}
	return open(dir)
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
	events, err := os.OpenFile(filepath.Join(dir, eventsFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening run: %w", err), lock.Close())
	}
	return &Run{Dir: dir, events: events, lock: lock}, nil
}

// repair cuts off what follows the last newline.
func (r *Run) repair() (warning string, err error) {
	info, err := r.events.Stat()
	if err != nil {
		return "", fmt.Errorf("opening run: %w", err)
	}
	size := info.Size()
	block := make([]byte, 1<<16)
	for end := size; end > 0; {
		start := max(0, end-int64(len(block)))
		part := block[:end-start]
		if _, err := r.events.ReadAt(part, start); err != nil && err != io.EOF {
			return "", fmt.Errorf("opening run: %w", err)
		}
		if i := strings.LastIndexByte(string(part), '\n'); i >= 0 {
			return r.cut(start+int64(i)+1, size)
		}
		end = start
	}
	return r.cut(0, size)
}

func (r *Run) cut(whole, size int64) (warning string, err error) {
	if whole == size {
		return "", nil
	}
	if err := r.events.Truncate(whole); err != nil {
		return "", fmt.Errorf("opening run: %w", err)
	}
	return fmt.Sprintf("%s: the last line was torn: %d bytes at offset %d cut off", r.events.Name(), size-whole, whole), nil
}

// Append writes records at the end of events.jsonl by one write, so that a
// process that is killed leaves whole lines and at most one torn one. A record
// with a Time of zero gets the present.
func (r *Run) Append(records ...Record) error {
	var lines []byte
	now := float64(time.Now().UnixMilli()) / 1000
	for _, record := range records {
		if record.Time == 0 {
			record.Time = now
		}
		line, err := record.MarshalJSON()
		if err != nil {
			return fmt.Errorf("appending to %s: %w", r.Dir, err)
		}
		lines = append(append(lines, line...), '\n')
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.events.Write(lines); err != nil {
		return fmt.Errorf("appending to run: %w", err)
	}
	return nil
}

// Checkpoint registers the weights of a step: save writes them to the path it is
// given, then a record names the file.
func (r *Run) Checkpoint(step int64, save func(path string) error) error {
	name := filepath.Join(checkpoints, fmt.Sprintf("step-%09d.safetensors", step))
	if err := save(filepath.Join(r.Dir, name)); err != nil {
		return err
	}
	r.mu.Lock()
	err := r.events.Sync()
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("checkpoint of run: %w", err)
	}
	return r.Append(Record{Step: step, Kind: KindCheckpoint, Text: filepath.ToSlash(name)})
}

// Close releases the run.
func (r *Run) Close() error {
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
	paths, err := filepath.Glob(filepath.Join(dir, checkpoints, "step-*.safetensors"))
	if err != nil {
		return nil, fmt.Errorf("listing the checkpoints of %s: %w", dir, err)
	}
	var list []Checkpoint
	for _, path := range paths {
		number := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "step-"), ".safetensors")
		if step, err := strconv.ParseInt(number, 10, 64); err == nil && step >= 0 {
			list = append(list, Checkpoint{step, path})
		}
	}
	slices.SortFunc(list, func(a, b Checkpoint) int { return int(a.Step - b.Step) })
	return list, nil
}

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*")
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
