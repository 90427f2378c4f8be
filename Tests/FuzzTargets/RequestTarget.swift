import CLinux
import FastableCore
import FastableWire
import NIOCore
import NodeSandbox
import SimulatedInit

/// `fastable-init` in a simulated kernel: a node that says anything, commands that do anything, calls that fail.
///
/// Whatever happens, init touches no memory that is not its own and no descriptor that it closed, comes to rest, says only what
/// the node understands, gives each byte of each command once and in its place, and keeps nothing for itself in the end.
enum RequestTarget {
    static func run(_ bytes: [UInt8]) throws {
        var script = ByteScript(bytes)
        try InitSimulation.run { simulation in
            var world = InitWorld(simulation)
            let holdings = world.start()
            while !script.isOver {
                try world.act(&script)
                if script.number(below: 8) == 0 { simulation.step() } else { try world.settle() }
            }
            try world.windDown(holdings)
        }
    }

    static var seeds: [[UInt8]] {
        // Each action is followed by how init goes on: 1 lets it come to rest.
        let open: [UInt8] = [2, 0, 0, 0x61, 1]
        let openInput: [UInt8] = [2, 1, 1, 0x61, 0x62, 1]
        let terminal: [UInt8] = [2, 2, 0, 0x61, 1]
        let deadline: [UInt8] = [2, 3, 0, 0x61, 1]
        return [
            open + [10, 0, 1, 0, 100, 1, 12, 0, 0, 0, 1, 5, 0, 1, 200, 1, 7, 0, 1],
            openInput + [3, 0, 0, 0, 200, 1, 11, 0, 1, 0, 1, 4, 0, 1, 12, 0, 0, 3, 1],
            terminal + [8, 0, 80, 1, 10, 0, 1, 0, 50, 1, 3, 0, 0, 0, 9, 1, 6, 0, 2, 1, 12, 0, 0, 0, 1],
            open + [13, 0, 1, 1, 6, 0, 9, 1, 15, 1, 1, 18, 100, 1, 12, 0, 0, 0, 1],
            open + open + [14, 1, 1, 17, 1, 1, 10, 0, 1, 200, 0, 1, 15, 1, 1, 17, 255, 1],
            open + [19, 3, 1] + openInput + [20, 0, 1, 9, 1, 0, 5, 1, 2, 3, 4, 5, 1, 15, 1, 1],
            deadline + [18, 100, 1, 18, 100, 1, 15, 1, 1, 7, 0, 1],
        ]
    }
}
