import FastableCore
import NodeSandbox
import Testing

@Suite struct GarbageMachineTests {
    private static let (own, stray) = (ContainerID(), ContainerID())

    @Test func onlyWhatNobodyKnewTwiceIsRemoved() {
        var machine = GarbageStateMachine()
        var known = KnownThings()
        known.containers = [Self.own]
        let found: Set<HostThing> = [.container(Self.own), .container(Self.stray), .link("fb00-1"), .group("x")]
        #expect(machine.looked(found: found, known: known).isEmpty)
        // What has become known meanwhile was being made.
        known.links = ["fb00-1"]
        #expect(machine.looked(found: found, known: known) == [.container(Self.stray), .group("x")])
        // What was away in between begins anew.
        #expect(machine.looked(found: [], known: known).isEmpty)
        #expect(machine.looked(found: found, known: known).isEmpty)
        #expect(machine.looked(found: found, known: known) == [.container(Self.stray), .group("x")])
    }

    @Test func eachKindIsKnownByItsOwner() {
        let project = ProjectID()
        var known = KnownThings()
        known.containers = [Self.own]
        known.beginning = [Self.own]
        known.projects = [project]
        known.directories = ["\(project)"]
        known.links = ["fb00-1"]
        known.images = ["tiny"]
        let kept: [HostThing] = [
            .container(Self.own), .searches(project), .link("fb00-1"), .disk(point: "/p/disk", project: "\(project)"),
            .rootMount(point: "/c/rootfs", container: Self.own), .imageDirectory("tiny"),
        ]
        let removed: [HostThing] = [
            .container(Self.stray), .searches(ProjectID()), .group("x"), .link("fb00-2"),
            .disk(point: "/p/disk", project: "\(ProjectID())"), .disk(point: "/t/disk", project: nil),
            .rootMount(point: "/c/rootfs", container: Self.stray), .imageDirectory(".draft-1"),
        ]
        for thing in kept { #expect(known.has(thing), "\(thing)") }
        for thing in removed { #expect(!known.has(thing), "\(thing)") }
        #expect(KnownThings().has(.rootMount(point: "/c/rootfs", container: Self.own)) == false)
    }
}
