package power

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
)

// A Run is one training run: when it first reached each target.
type Run struct {
	Dataset, Network, Optimizer string
	Batch                       int
	LearningRate                string
	Number                      int
	Target                      float64
	Epochs                      float64 // NaN: never
}

// A Speed is what an epoch takes at a batch size and power limit.
type Speed struct {
	Dataset, Network, Optimizer string
	Batch                       int
	Limit                       float64 // power limit, W
	Seconds                     float64 // per epoch
	Watts                       float64 // mean power
}

// ReadRuns reads a training trace in the format of Zeus: dataset, network,
// batch_size, optimizer, learning_rate, run, target_metric, target_epoch (nan: never
// reached). Rows that contradict each other are an error.
func ReadRuns(path string) ([]Run, error) {
	var runs []Run
	seen := map[Run]int{}
	err := readCSV(path, []string{"dataset", "network", "batch_size", "optimizer", "learning_rate", "run", "target_metric", "target_epoch"}, func(line int, f func(string) string, num func(string) (float64, error)) error {
		r := Run{Dataset: f("dataset"), Network: f("network"), Optimizer: f("optimizer"), LearningRate: f("learning_rate")}
		for _, field := range []struct {
			name string
			set  func(float64)
			nan  bool
		}{
			{"batch_size", func(x float64) { r.Batch = int(x) }, false}, {"run", func(x float64) { r.Number = int(x) }, false},
			{"target_metric", func(x float64) { r.Target = x }, false}, {"target_epoch", func(x float64) { r.Epochs = x }, true},
		} {
			x, err := num(field.name)
			if err != nil {
				return err
			}
			if math.IsInf(x, 0) || math.IsNaN(x) && !field.nan {
				return fmt.Errorf("%s: expected a finite number, got %g", field.name, x)
			}
			field.set(x)
		}
		if r.Batch < 1 || r.Epochs < 0 {
			return fmt.Errorf("expected a batch_size of at least 1 and a target_epoch from 0, got %d and %g", r.Batch, r.Epochs)
		}
		key := r
		key.Epochs = 0
		if before, ok := seen[key]; ok {
			return fmt.Errorf("the same run and target as in line %d", before)
		}
		seen[key] = line
		runs = append(runs, r)
		return nil
	})
	return runs, err
}

// ReadSpeeds reads a power trace in the format of Zeus: dataset, network, batch_size,
// optimizer, power_limit, time_per_epoch, average_power.
func ReadSpeeds(path string) ([]Speed, error) {
	var speeds []Speed
	seen := map[Speed]int{}
	err := readCSV(path, []string{"dataset", "network", "batch_size", "optimizer", "power_limit", "time_per_epoch", "average_power"}, func(line int, f func(string) string, num func(string) (float64, error)) error {
		s := Speed{Dataset: f("dataset"), Network: f("network"), Optimizer: f("optimizer")}
		batch := 0.0
		for _, field := range []struct {
			name string
			to   *float64
		}{{"batch_size", &batch}, {"power_limit", &s.Limit}, {"time_per_epoch", &s.Seconds}, {"average_power", &s.Watts}} {
			x, err := num(field.name)
			if err != nil {
				return err
			}
			if !(x > 0) || math.IsInf(x, 0) {
				return fmt.Errorf("%s: expected a positive number, got %g", field.name, x)
			}
			*field.to = x
		}
		s.Batch = int(batch)
		key := s
		key.Seconds, key.Watts = 0, 0
		if before, ok := seen[key]; ok {
			return fmt.Errorf("the same batch size and power limit as in line %d", before)
		}
		seen[key] = line
		speeds = append(speeds, s)
		return nil
	})
	return speeds, err
}

// readCSV calls row with every row of a file that has the columns.
func readCSV(path string, columns []string, row func(line int, field func(string) string, number func(string) (float64, error)) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading trace: %w", err)
	}
	defer file.Close()
	if err := parseCSV(file, columns, row); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func parseCSV(from io.Reader, columns []string, row func(line int, field func(string) string, number func(string) (float64, error)) error) error {
	r := csv.NewReader(from)
	r.ReuseRecord = true
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty: expected a line of column names")
	}
	if err != nil {
		return err
	}
	at := map[string]int{}
	for i, name := range head {
		at[name] = i
	}
	for _, c := range columns {
		if _, ok := at[c]; !ok {
			return fmt.Errorf("expected the column %q, got %q", c, head)
		}
	}
	rows := 0
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			if rows == 0 {
				return errors.New("expected rows, got column names alone")
			}
			return nil
		}
		if err != nil {
			return err
		}
		rows++
		line, _ := r.FieldPos(0)
		field := func(name string) string { // empty for a column that is not there
			if i, ok := at[name]; ok {
				return record[i]
			}
			return ""
		}
		number := func(name string) (float64, error) {
			x, err := strconv.ParseFloat(field(name), 64)
			if err != nil {
				return 0, fmt.Errorf("%s: expected a number, got %.40q", name, field(name))
			}
			return x, nil
		}
		if err := row(line, field, number); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}
