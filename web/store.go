package web

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/run"
)

// A store knows the runs below a folder. The identity of a run is its path from
// there, with slashes.
type store struct {
	root   string // without links
	memory *memory

	mu      sync.Mutex
	skipped map[string]error // runs whose names cannot be served
	runs    map[string]*entry
	writers map[string]*writer
}

// An entry is what was last seen of a run.
type entry struct {
	summary run.Summary
	size    int64
	changed time.Time

	heat   reading // temperature of its last records
	heated time.Time

	indexing sync.Mutex // held while its index is brought up to date
}

func newStore(root string) (*store, error) {
	root, err := filepath.Abs(root)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, fmt.Errorf("serving runs: %w", err)
	}
	s := &store{root: root, memory: newMemory(), skipped: map[string]error{}, runs: map[string]*entry{}, writers: map[string]*writer{}}
	_, err = s.scan()
	return s, err
}

// scan looks for runs and returns the ids of those that are new, gone or changed.
// A run whose files are as they were is not read again.
func (s *store) scan() (changed []string, err error) {
	found, skipped := map[string]bool{}, map[string]error{}
	err = filepath.WalkDir(s.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if path == s.root {
				return err
			}
			return nil // it went away, or is not ours to see
		}
		if !e.IsDir() {
			return nil
		}
		if path != s.root && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if _, err := os.Stat(filepath.Join(path, "model.json")); err != nil {
			return nil
		}
		relative, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		id := filepath.ToSlash(relative)
		if err := checkID(id); err != nil {
			skipped[id] = err
			return filepath.SkipDir
		}
		found[id] = true
		if s.look(id, path) {
			changed = append(changed, id)
		}
		return filepath.SkipDir
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		for id, why := range skipped {
			if s.skipped[id] == nil {
				log.Printf("left out: %v", why)
			}
		}
		s.skipped = skipped
		for id := range s.runs {
			if !found[id] {
				delete(s.runs, id)
				changed = append(changed, id)
			}
		}
	}
	return changed, err
}

// look reports whether a run changed since the last look.
func (s *store) look(id, path string) bool {
	var size int64
	var changed time.Time
	if info, err := os.Stat(filepath.Join(path, "events.jsonl")); err == nil {
		size, changed = info.Size(), info.ModTime()
	}
	s.mu.Lock()
	e, known := s.runs[id]
	s.mu.Unlock()
	if known && e.size == size && e.changed.Equal(changed) && e.summary.State != run.Running {
		return false
	}
	summary, err := run.Summarise(path)
	if err != nil {
		return false // it went away meanwhile
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !known {
		e = &entry{}
		s.runs[id] = e
	}
	same := known && e.size == size && e.changed.Equal(changed) && e.summary.State == summary.State
	e.summary, e.size, e.changed = summary, size, changed
	return !same
}

// warning says which runs are left out.
func (s *store) warning() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.skipped) == 0 {
		return ""
	}
	first := slices.Min(slices.Collect(maps.Keys(s.skipped)))
	return fmt.Sprintf("%d left out for their names: %v", len(s.skipped), s.skipped[first])
}

// list returns the runs, those that changed last first.
func (s *store) list() []runItem {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := make([]runItem, 0, len(s.runs))
	for id, e := range s.runs {
		item := newItem(id, e.summary)
		item.Temperature, item.TemperatureErr, item.TemperatureWhy = e.heat.Value, e.heat.StdErr, e.heat.Reason
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b runItem) int {
		if a.Time != b.Time {
			if a.Time > b.Time {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return items
}

var errNoRun = errors.New("no such run")

// find returns the run of an id, and its folder.
func (s *store) find(id string) (e *entry, dir string, err error) {
	if dir, err = s.path(id); err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.runs[id]; e == nil {
		return nil, "", fmt.Errorf("run %q: %w", id, errNoRun)
	}
	return e, dir, nil
}

// path returns the folder of an id, which lies below the root: neither dots nor
// links lead out of it.
func (s *store) path(id string) (string, error) {
	if err := checkID(id); err != nil {
		return "", err
	}
	dir := filepath.Join(s.root, filepath.FromSlash(id))
	for at := dir; len(at) > len(s.root); at = filepath.Dir(at) {
		if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", fmt.Errorf("run %q: expected a path without links", id)
		}
	}
	return dir, nil
}

// checkID refuses what cannot name a run.
func checkID(id string) error {
	switch {
	case !utf8.ValidString(id):
		return fmt.Errorf("run %q: expected a path in UTF-8", id)
	case len(id) > 512:
		return fmt.Errorf("run %.20q…: expected a path of at most 512 bytes, %d came", id, len(id))
	case strings.ContainsAny(id, "\\\x00"):
		return fmt.Errorf("run %q: expected a path without backslashes and zero bytes", id)
	case !fs.ValidPath(id), !filepath.IsLocal(filepath.FromSlash(id)): // of Windows also colons, CON, …
		return fmt.Errorf(`run %q: expected a path below the folder of the runs, with single slashes and without ".."`, id)
	}
	if id != "." {
		for part := range strings.SplitSeq(id, "/") {
			if strings.HasPrefix(part, ".") {
				return fmt.Errorf("run %q: no part of the path may begin with a dot", id)
			}
		}
	}
	return nil
}

// errIndexing says that the records of a run are still being read.
var errIndexing = errors.New("the records are being read")

// patience is how long a request waits for an index.
const patience = 500 * time.Millisecond

// index opens the index of a run. If that takes long, it goes on without the
// caller, who gets errIndexing and may ask again.
func (s *store) index(id string) (*run.Index, string, error) {
	e, dir, err := s.find(id)
	if err != nil {
		return nil, "", err
	}
	type opened struct {
		index   *run.Index
		warning string
		err     error
	}
	ready := make(chan opened)
	late := make(chan struct{})
	go func() {
		e.indexing.Lock()
		defer e.indexing.Unlock()
		var o opened
		o.index, o.warning, o.err = run.OpenIndex(dir)
		select {
		case ready <- o:
		case <-late:
			if o.err == nil {
				o.index.Close()
			}
		}
	}()
	select {
	case o := <-ready:
		return o.index, o.warning, o.err
	case <-time.After(patience):
		close(late)
		return nil, "", fmt.Errorf("run %q: %w", id, errIndexing)
	}
}

// heatEvery is how often the temperature of a run that grows is read.
const heatEvery = 5 * time.Second

// warm brings the index of a run up to date, and reports whether its temperature is
// another than before.
func (s *store) warm(id string) bool {
	e, dir, err := s.find(id)
	if err != nil || !e.indexing.TryLock() {
		return false
	}
	index, _, err := run.OpenIndex(dir)
	e.indexing.Unlock()
	if err != nil {
		return false
	}
	index.Close()
	s.mu.Lock()
	due := time.Since(e.heated) > heatEvery || e.summary.State != run.Running
	s.mu.Unlock()
	if !due {
		return false
	}
	report, err := monitor.ReadRecent(dir)
	if err != nil {
		return false
	}
	heat := read(report.Temperature)
	s.mu.Lock()
	defer s.mu.Unlock()
	same := (heat.Value == nil) == (e.heat.Value == nil) && (heat.Value == nil || *heat.Value == *e.heat.Value)
	e.heat, e.heated = heat, time.Now()
	return !same
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.writers {
		w.mu.Lock()
		w.close()
		w.mu.Unlock()
	}
}
