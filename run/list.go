package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// A State is what a run is doing.
type State string

// The states of a run.
const (
	Running  State = "running"  // a process of this machine holds it
	Finished State = "finished" // its last record is of kind "end"
	Stopped  State = "stopped"  // neither: it was interrupted, or is written from elsewhere
)

// A Summary is a run at a glance.
type Summary struct {
	Dir   string
	State State
	Step  int64   // of the last record; 0 when there is none
	Time  float64 // of the last record, seconds since 1970; 0 when there is none
	Loss  float64 // of the last record that has one; NaN when there is none

	Diverged bool // whether that record has one, and it is NaN or infinite
}

// summaryTail is how much of the end of events.jsonl a summary looks at.
const summaryTail = 1 << 17

// List summarises the runs in root and in the folders below it, by path. It looks
// at no more than the ends of their records, so that a thousand runs take no time.
func List(root string) ([]Summary, error) {
	var list []Summary
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if path == root || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
			return nil // it went away, or is not ours to see
		}
		if !e.IsDir() || check(path) != nil {
			return nil
		}
		s, err := Summarise(path)
		if err != nil {
			return err
		}
		list = append(list, s)
		return filepath.SkipDir
	})
	if err != nil {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	return list, nil
}

// Summarise looks at the end of the records of the run in dir.
func Summarise(dir string) (Summary, error) {
	if err := check(dir); err != nil {
		return Summary{}, err
	}
	s := Summary{Dir: dir, State: Stopped, Loss: math.NaN()}
	if held(filepath.Join(dir, lockFile)) {
		s.State = Running
	}
	end, err := endOf(filepath.Join(dir, eventsFile))
	if err != nil {
		return s, err
	}
	var d decoder
	bound := int64(math.MaxInt64) // the least step of the resumes that follow
	for seen := false; len(end) > 0; {
		i := bytes.LastIndexByte(bytes.TrimSuffix(end, []byte("\n")), '\n') + 1
		line := end[i:]
		end = end[:i]
		if d.decode(line) != nil || d.head.Step > bound { // torn, cut, or taken back
			continue
		}
		if !seen && d.head.Kind != "finding" && d.head.Kind != "note" { // they may be about earlier steps
			seen, s.Step, s.Time = true, d.head.Step, d.head.Time
			if d.head.Kind == KindEnd && s.State == Stopped {
				s.State = Finished
			}
		}
		if d.head.Kind == KindResume {
			bound = d.head.Step
		}
		for _, f := range d.fields {
			if d.head.Layer == "" && f.name == "loss" {
				s.Loss, s.Diverged = f.value, math.IsNaN(f.value) || math.IsInf(f.value, 0)
				return s, nil
			}
		}
	}
	return s, nil
}

// endOf returns the last [summaryTail] bytes of a file, nothing if there is none.
func endOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-summaryTail), summaryTail))
}
