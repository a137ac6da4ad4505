package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/sampler"
)

// A sampleStore is a folder with the state of a run, which a later run with the
// same settings continues, and its draws.
type sampleStore struct {
	folder   string
	thin     int // as asked for; 0: as little as fits
	stderr   io.Writer
	settings []byte                                          // JSON of all that decides what is drawn
	density  func(chain, steps int) (sampler.Density, error) // as it is after a chain has taken so many steps
	arrays   func(*sampler.Result) []dataset.Array
}

// A beginning is sampler.Run or sampler.RunTempered with a kernel.
type beginning func(density func(chain int) (sampler.Density, error), o sampler.Options) (*sampler.Result, error)

// run begins a run, or continues what the folder holds. The state is stored ten
// times during the draws, so a killed run loses a tenth.
func (s *sampleStore) run(ctx context.Context, begin beginning, o sampler.Options) (*sampler.Result, error) {
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		return nil, err
	}
	r, err := s.restore()
	if err != nil {
		return nil, err
	}
	total := o.Draws
	if r != nil {
		if drawn := fewestSteps(r); drawn > total {
			fmt.Fprintf(s.stderr, "%s holds %d draws a chain, more than the %d asked for: all are reported\n", s.folder, drawn, total)
		}
		for s.thin == 0 && r.Thin < sampler.Thinning(total, len(r.Names)) {
			r.Halve()
		}
	} else {
		fresh := func(chain int) (sampler.Density, error) { return s.density(chain, 0) }
		if o.Thin == 0 {
			d, err := fresh(0)
			if err != nil {
				return nil, err
			}
			o.Thin = sampler.DefaultThin(d, total)
		}
		o.Draws = min(tenth(total, o.Thin), total)
		if r, err = begin(fresh, o); r == nil {
			return nil, err
		}
	}
	for {
		if stored := s.store(r); stored != nil {
			return nil, stored
		}
		drawn := fewestSteps(r)
		if drawn >= total || err != nil {
			return r, err
		}
		next := func(chain int) (sampler.Density, error) { return s.density(chain, r.Chains[chain].State.Steps) }
		if err = sampler.Extend(ctx, r, next, min(drawn+tenth(total, r.Thin), total), o.Progress); err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
}

// fewestSteps is the number of steps that every chain has taken.
func fewestSteps(r *sampler.Result) int {
	fewest := r.Chains[0].Moments.N
	for _, c := range r.Chains {
		fewest = min(fewest, c.Moments.N)
	}
	return fewest
}

// tenth is a tenth of the steps, a multiple of thin.
func tenth(total, thin int) int { return max((total/10+thin-1)/thin, 1) * thin }

type sampleState struct {
	Schema   string          `json:"schema"`
	Settings json.RawMessage `json:"settings"`
	Result   *sampler.Result `json:"result"`
}

// restore returns the stored run of the same settings, or nil if there is none.
func (s *sampleStore) restore() (*sampler.Result, error) {
	path := filepath.Join(s.folder, "state.json")
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state sampleState
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if state.Schema != schema || state.Result == nil || !bytes.Equal(state.Settings, s.settings) {
		return nil, fmt.Errorf("reading %s: it holds a run of another model, data or options; use another --out", path)
	}
	return state.Result, nil
}

func (s *sampleStore) store(r *sampler.Result) error {
	text, err := json.Marshal(sampleState{schema, s.settings, r})
	if err != nil {
		return fmt.Errorf("storing the state: %w", err)
	}
	f, err := os.CreateTemp(s.folder, ".state.json.*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), filepath.Join(s.folder, "state.json")), writeDraws(s.folder, s.arrays(r)))
}

func writeDraws(folder string, arrays []dataset.Array) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return dataset.WriteArrays(filepath.Join(folder, "draws.npz"), arrays)
}

// drawsByName has one array per quantity, chains × draws.
func drawsByName(r *sampler.Result) []dataset.Array {
	var arrays []dataset.Array
	for i, name := range r.Names {
		chains := r.Chain(i)
		arrays = append(arrays, dataset.Array{Name: name, Shape: []int{len(chains), len(chains[0])}, Data: slices.Concat(chains...)})
	}
	return arrays
}

// drawsByTensor has one array per parameter tensor of a network, chains × draws ×
// its shape.
func drawsByTensor(groups []nn.Group, r *sampler.Result) []dataset.Array {
	kept := r.Chains[0].Kept()
	for _, c := range r.Chains {
		kept = min(kept, c.Kept())
	}
	var arrays []dataset.Array
	for _, g := range groups {
		for _, t := range g.Tensors {
			a := dataset.Array{Name: t.Name, Shape: append([]int{len(r.Chains), kept}, t.Shape...)}
			var data []float32
			for _, c := range r.Chains {
				for i := range kept {
					for _, v := range c.Draws[i*len(r.Names)+t.Offset:][:t.Size()] {
						data = append(data, float32(v))
					}
				}
			}
			a.Data = data
			arrays = append(arrays, a)
		}
	}
	return arrays
}
