// What crictl asks of a runtime, asked with the library that crictl and kubelet ask it with
// (k8s.io/cri-client), and printed as JSON. For tests of the fake runtime.
//
//	cri [-stream] ENDPOINT images|ps|pods|info|version|imagefsinfo
//	cri ENDPOINT inspecti|pull|rmi IMAGE
//	cri ENDPOINT events COUNT
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis"
	pb "k8s.io/cri-api/pkg/apis/runtime/v1"
	client "k8s.io/cri-client/pkg"
)

const patience = 20 * time.Second

func main() {
	stream := flag.Bool("stream", false, "ask for streamed lists")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, *stream, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stream bool, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: cri [-stream] ENDPOINT VERB [ARGUMENT]")
	}
	endpoint, verb, argument := args[0], args[1], ""
	if len(args) > 2 {
		argument = args[2]
	}
	runtime, err := client.NewRemoteRuntimeService(ctx, endpoint, patience, nil, stream)
	if err != nil {
		return err
	}
	images, err := client.NewRemoteImageService(ctx, endpoint, patience, nil, stream)
	if err != nil {
		return err
	}
	switch verb {
	case "version":
		return show(runtime.Version(ctx, ""))
	case "info":
		return show(runtime.Status(ctx, true))
	case "pods":
		list, err := runtime.ListPodSandbox(ctx, nil)
		return show(&pb.ListPodSandboxResponse{Items: list}, err)
	case "ps":
		list, err := runtime.ListContainers(ctx, nil)
		return show(&pb.ListContainersResponse{Containers: list}, err)
	case "events":
		return events(ctx, runtime, argument)
	case "images":
		list, err := images.ListImages(ctx, nil)
		return show(&pb.ListImagesResponse{Images: list}, err)
	case "imagefsinfo":
		return show(images.ImageFsInfo(ctx))
	case "inspecti":
		return show(images.ImageStatus(ctx, &pb.ImageSpec{Image: argument}, true))
	case "pull":
		ref, err := images.PullImage(ctx, &pb.ImageSpec{Image: argument}, nil, nil)
		return show(&pb.PullImageResponse{ImageRef: ref}, err)
	case "rmi":
		return remove(ctx, images, argument)
	}
	return fmt.Errorf("unknown verb %q", verb)
}

// remove looks the image up and removes it by its id, as crictl does.
func remove(ctx context.Context, images cri.ImageManagerService, name string) error {
	found, err := images.ImageStatus(ctx, &pb.ImageSpec{Image: name}, false)
	if err != nil {
		return err
	}
	if found.Image == nil {
		return fmt.Errorf("no such image %s", name)
	}
	return images.RemoveImage(ctx, &pb.ImageSpec{Image: found.Image.Id})
}

// events prints so many of them, one a line, after a line that says it has subscribed.
func events(ctx context.Context, runtime cri.RuntimeService, count string) error {
	wanted, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	heard, failed := make(chan *pb.ContainerEventResponse), make(chan error, 1)
	go func() {
		failed <- runtime.GetContainerEvents(ctx, heard, func(pb.RuntimeService_GetContainerEventsClient) {
			fmt.Println("{}")
		})
	}()
	for ; wanted > 0; wanted-- {
		select {
		case event := <-heard:
			if err := show(event, nil); err != nil {
				return err
			}
		case err := <-failed:
			return err
		}
	}
	return nil
}

func show[M proto.Message](message M, err error) error {
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(message)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}
