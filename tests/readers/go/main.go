// Command readers prints the rows of Parquet files as JSON, one array for each row, with a reader of Go: readers READER FILE...
// Integers are texts, as those of the readers in JavaScript.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/parquet-go/parquet-go"
)

type emit func(row []*string) error

func arrowGo(path string, out emit) error {
	opened, err := file.OpenParquetFile(path, false)
	if err != nil {
		return err
	}
	defer opened.Close()
	reader, err := pqarrow.NewFileReader(opened, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	table, err := reader.ReadTable(context.Background())
	if err != nil {
		return err
	}
	defer table.Release()
	batches := array.NewTableReader(table, -1)
	defer batches.Release()
	for batches.Next() {
		batch := batches.RecordBatch()
		for row := 0; row < int(batch.NumRows()); row++ {
			if err := out(arrowRow(batch, row)); err != nil {
				return err
			}
		}
	}
	return batches.Err()
}

func arrowRow(batch arrow.RecordBatch, row int) []*string {
	values := make([]*string, batch.NumCols())
	for column := range values {
		if of := batch.Column(column); !of.IsNull(row) {
			text := of.ValueStr(row)
			values[column] = &text
		}
	}
	return values
}

func parquetGo(path string, out emit) error {
	opened, err := os.Open(path)
	if err != nil {
		return err
	}
	defer opened.Close()
	stat, err := opened.Stat()
	if err != nil {
		return err
	}
	parts, err := parquet.OpenFile(opened, stat.Size())
	if err != nil {
		return err
	}
	reader := parquet.NewReader(parts)
	defer reader.Close()
	rows := make([]parquet.Row, 1000)
	for {
		count, err := reader.ReadRows(rows)
		for _, row := range rows[:count] {
			values := make([]*string, len(row))
			for column, value := range row {
				if !value.IsNull() {
					text := value.String()
					values[column] = &text
				}
			}
			if err := out(values); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func main() {
	readers := map[string]func(string, emit) error{"arrow-go": arrowGo, "parquet-go": parquetGo}
	buffered := bufio.NewWriter(os.Stdout)
	defer buffered.Flush()
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for _, path := range os.Args[2:] {
		if err := readers[os.Args[1]](path, func(row []*string) error { return encoder.Encode(row) }); err != nil {
			buffered.Flush()
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
