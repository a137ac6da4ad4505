package training

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/run"
)

// Every how many steps a run records, and every how many it keeps its weights.
const (
	recordEvery     = 10
	checkpointEvery = 1000
)

// Resume returns the trainer of the run in dir at its last checkpoint. It fails
// with [ErrOtherData] if the run was trained on another set.
func Resume(dir string, set *dataset.Set) (*Trainer, error) {
	var config Config
	if err := run.Model(dir, &config); err != nil {
		return nil, err
	}
	return resume(dir, config, set)
}

// ResumeOn is Resume on any set that fits the network.
func ResumeOn(dir string, set *dataset.Set) (*Trainer, error) {
	var config Config
	if err := run.Model(dir, &config); err != nil {
		return nil, err
	}
	config.Data = ""
	return resume(dir, config, set)
}

func resume(dir string, config Config, set *dataset.Set) (*Trainer, error) {
	t, err := New(config, set)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	checkpoints, err := run.Checkpoints(dir)
	if err != nil {
		return nil, err
	}
	if len(checkpoints) == 0 {
		return nil, fmt.Errorf("run %s has no checkpoint yet", dir)
	}
	last := checkpoints[len(checkpoints)-1]
	if err := t.Restore(last.Path); err != nil {
		return nil, err
	}
	if int64(t.Step) != last.Step {
		return nil, fmt.Errorf("reading %s: the file says step %d", last.Path, t.Step)
	}
	return t, nil
}

// Train trains by config on set and keeps the run in dir. If dir holds a run of
// the same Config (but for more Steps), it goes on from its last checkpoint, to
// the weights that an uninterrupted run would have reached. What is worth
// knowing on the way goes to warn, progress after every step to progress.
//
// When ctx ends, the weights of that moment are kept, and the error says how to
// go on.
func Train(ctx context.Context, config Config, set *dataset.Set, dir string, warn func(string), progress func(step int, energy float64)) (t *Trainer, err error) {
	config.Data = Fingerprint(set)
	t, r, err := begin(config, set, dir, warn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	save := func() error { return r.Checkpoint(int64(t.Step), t.Save) }
	if t.Step == 0 {
		if err := save(); err != nil {
			return nil, err
		}
	}
	observation := &nn.Observation{}
	for t.Step < config.Steps {
		if ctx.Err() != nil {
			return t, errors.Join(fmt.Errorf("interrupted at step %d of %d: the same command goes on from there", t.Step, config.Steps), save())
		}
		record := t.Step%recordEvery == 0 || t.Step == config.Steps-1
		var obs *nn.Observation
		if t.Optimizer.KeepUpdate = record; record {
			obs = observation
		}
		energy, err := t.Advance(obs)
		if err != nil {
			return t, errors.Join(err, save())
		}
		if record {
			if err := r.Append(t.Records(energy, obs)...); err != nil {
				return t, err
			}
		}
		if t.Step%checkpointEvery == 0 && t.Step < config.Steps {
			if err := save(); err != nil {
				return t, err
			}
		}
		progress(t.Step, energy)
	}
	return t, errors.Join(save(), r.Append(run.Record{Step: int64(t.Step), Kind: run.KindEnd}))
}

// begin makes the run, or opens the one that is there and goes back to its last
// checkpoint.
func begin(config Config, set *dataset.Set, dir string, warn func(string)) (*Trainer, *run.Run, error) {
	if _, err := os.Stat(filepath.Join(dir, "model.json")); err != nil {
		t, err := New(config, set)
		if err != nil {
			return nil, nil, err
		}
		r, err := run.Create(dir, config)
		return t, r, err
	}
	var before Config
	if err := run.Model(dir, &before); err != nil {
		return nil, nil, err
	}
	wanted := config
	wanted.Steps = before.Steps
	if changed := differences(before, wanted); len(changed) > 0 {
		return nil, nil, fmt.Errorf("%s holds another training: %s; choose another folder", dir, strings.Join(changed, ", "))
	}
	r, warning, err := run.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	if warning != "" {
		warn(warning)
	}
	checkpoints, err := run.Checkpoints(dir)
	if err == nil && len(checkpoints) == 0 { // killed before the first was written
		var t *Trainer
		if t, err = New(config, set); err == nil {
			return t, r, nil
		}
	}
	var t *Trainer
	if err == nil {
		t, err = Resume(dir, set)
	}
	if err == nil {
		t.Config = config
		warn(fmt.Sprintf("%s: going on from step %d", dir, t.Step))
		err = r.Append(run.Record{Step: int64(t.Step), Kind: run.KindResume})
	}
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return t, r, nil
}

// differences names the fields in which two descriptions differ:
// "optimizer.learning_rate 0.1, not 0.2".
func differences(have, want Config) []string {
	a, b := map[string]string{}, map[string]string{}
	flatten(have, a)
	flatten(want, b)
	for field := range b {
		if _, ok := a[field]; !ok {
			a[field] = "none"
		}
	}
	var list []string
	for _, field := range slices.Sorted(maps.Keys(a)) {
		if other := cmp.Or(b[field], "none"); a[field] != other {
			list = append(list, fmt.Sprintf("%s %s, not %s", field, a[field], other))
		}
	}
	return list
}

// flatten lists the leaves of a value's JSON by their path.
func flatten(value any, leaves map[string]string) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a Config always marshals
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		panic(err)
	}
	var walk func(string, any)
	walk = func(path string, node any) {
		if branch, ok := node.(map[string]any); ok {
			for name, child := range branch {
				walk(strings.TrimPrefix(path+"."+name, "."), child)
			}
			return
		}
		leaf, _ := json.Marshal(node) // came from JSON
		leaves[path] = string(leaf)
	}
	walk("", tree)
}
