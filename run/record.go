package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Version is the version of the record schema (docs/run-format.md).
const Version = 1

// A Record is one line of events.jsonl: what was seen at one step, of the whole
// system or of one layer.
type Record struct {
	Time   float64            // seconds since 1970
	Step   int64              // optimiser steps taken
	Kind   string             // "step", "layer", "checkpoint", "resume", "end", "finding", "note"
	Layer  string             // of kind "layer"
	Text   string             // free text: a path, a message
	Values map[string]float64 // named as docs/run-format.md lists them
}

// The kinds of record that this package itself gives a meaning.
const (
	KindStep       = "step"       // of the whole system
	KindLayer      = "layer"      // of one layer
	KindCheckpoint = "checkpoint" // Text is the file, relative to the run
	KindResume     = "resume"     // records before it of later steps no longer hold
	KindEnd        = "end"        // the run reached its last step
)

// MarshalJSON writes the record as one flat object. Values that JSON has no
// number for are the strings "NaN", "Infinity" and "-Infinity".
func (r Record) MarshalJSON() ([]byte, error) { return r.append(nil) }

func (r Record) append(line []byte) ([]byte, error) {
	if r.Kind == "" {
		return nil, errors.New("record: it has no kind")
	}
	if !finite(r.Time) {
		return nil, fmt.Errorf("record: its time is %g", r.Time)
	}
	line = append(line, `{"v":`...)
	line = strconv.AppendInt(line, Version, 10)
	line = strconv.AppendFloat(append(line, `,"t":`...), r.Time, 'f', -1, 64)
	line = strconv.AppendInt(append(line, `,"step":`...), r.Step, 10)
	line = appendQuoted(append(line, `,"kind":`...), r.Kind)
	if r.Layer != "" {
		line = appendQuoted(append(line, `,"layer":`...), r.Layer)
	}
	if r.Text != "" {
		line = appendQuoted(append(line, `,"text":`...), r.Text)
	}
	names := make([]string, 0, len(r.Values))
	for name := range r.Values {
		if reserved(name) {
			return nil, fmt.Errorf("record: %q is not a name for a value", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line = append(appendQuoted(append(line, ','), name), ':')
		line = appendNumber(line, r.Values[name])
	}
	return append(line, '}'), nil
}

func reserved(name string) bool {
	switch name {
	case "", "v", "t", "step", "kind", "layer", "text":
		return true
	}
	return false
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func appendNumber(line []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(line, `"NaN"`...)
	case math.IsInf(x, 1):
		return append(line, `"Infinity"`...)
	case math.IsInf(x, -1):
		return append(line, `"-Infinity"`...)
	}
	return strconv.AppendFloat(line, x, 'g', -1, 64)
}

func appendQuoted(line []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return append(line, b...)
}

// UnmarshalJSON reads one record. Fields that are neither numbers nor known are
// skipped, so that other writers may add their own.
func (r *Record) UnmarshalJSON(line []byte) error {
	var d decoder
	if err := d.decode(line); err != nil {
		return err
	}
	*r = d.record()
	return nil
}
