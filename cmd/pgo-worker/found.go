package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"pgo/proto"
	"pgo/worker/compose"
)

// findTime bounds how long the engine may take to answer. pgod waits a little longer.
const findTime = 8 * time.Second

// find writes what this user finds of Docker.
func find(host string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), findTime)
	defer cancel()
	engine := &compose.Engine{Host: host}
	project := &compose.Project{Name: "pgo", Home: "/", Checkout: "/", Marker: "PGO_FOUND=1", Host: host}
	var said proto.Found
	docker, err := compose.Look(ctx, project, engine)
	var old *compose.TooOldError
	if errors.As(err, &old) {
		said.Warnings = []string{old.Error()}
		return json.NewEncoder(out).Encode(said)
	}
	if err != nil {
		said.Error = err.Error()
		return json.NewEncoder(out).Encode(said)
	}
	said.Docker, said.Warnings = docker.String(), docker.Warnings()
	room, err := engine.Room(ctx)
	if err != nil {
		said.Warnings = append(said.Warnings, err.Error())
	} else {
		said.Free, said.Projects = &room.Free, room.Projects
	}
	return json.NewEncoder(out).Encode(said)
}
