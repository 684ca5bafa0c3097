"""A small ray tracer: spheres over a chequered floor, with shadows and mirrors.

    python raytracer.py                    render, print a checksum of the picture
    python raytracer.py picture.ppm        render into a file that image viewers can show
    python raytracer.py - > picture.ppm    the same, through standard output
    tachyscope run raytracer.py            see where the time goes

What a profile of it shows: most of the time is spent in `Sphere.hit`, which is called for every ray and every
sphere, and in the small vector functions at the top, each of which is cheap but called millions of times.
"""

import math
import sys
import zlib

WIDTH, HEIGHT = 480, 360
MAX_BOUNCES = 3
FAR = 1e9
TINY = 1e-6  # a ray that starts on a surface must not hit that same surface at once

# A vector is a tuple of three numbers: a point, a direction, or a colour (red, green, blue from 0 to 1).


def add(a, b):
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def subtract(a, b):
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def scale(a, factor):
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalize(a):
    return scale(a, 1.0 / math.sqrt(dot(a, a)))


def reflect(direction, normal):
    """The direction in which a mirror with this normal sends a ray."""
    return subtract(direction, scale(normal, 2.0 * dot(direction, normal)))


def mix(a, b, share):
    """A colour between `a` (share 0) and `b` (share 1)."""
    return add(scale(a, 1.0 - share), scale(b, share))


class Sphere:
    """A ball; `mirror` is the share of the light that it reflects like a mirror."""

    def __init__(self, center, radius, color, mirror):
        self.center = center
        self.radius = radius
        self.color = color
        self.mirror = mirror

    def hit(self, origin, direction):
        """How far along the ray the sphere is met; FAR if it is not."""
        to_center = subtract(self.center, origin)
        along = dot(to_center, direction)
        beside = dot(to_center, to_center) - along * along
        inside = self.radius * self.radius - beside
        if inside < 0.0:
            return FAR
        half = math.sqrt(inside)
        if along - half > TINY:
            return along - half
        return along + half if along + half > TINY else FAR

    def normal(self, point):
        return normalize(subtract(point, self.center))

    def color_at(self, point):
        return self.color


class Floor:
    """The plane y = 0 with a chequered pattern."""

    mirror = 0.15

    def hit(self, origin, direction):
        if abs(direction[1]) < TINY:
            return FAR
        distance = -origin[1] / direction[1]
        return distance if distance > TINY else FAR

    def normal(self, point):
        return (0.0, 1.0, 0.0)

    def color_at(self, point):
        dark = (math.floor(point[0]) + math.floor(point[2])) % 2
        return (0.25, 0.25, 0.3) if dark else (0.9, 0.9, 0.85)


def make_scene():
    """The floor, a ring of small balls, and a big mirror ball in the middle."""
    things = [Floor(), Sphere((0.0, 1.0, 0.0), 1.0, (0.9, 0.9, 0.9), 0.8)]
    for i in range(8):
        turn = i * math.pi / 4.0
        center = (2.2 * math.cos(turn), 0.4, 2.2 * math.sin(turn))
        color = (0.5 + 0.5 * math.cos(turn), 0.5 + 0.5 * math.sin(turn), 0.6)
        things.append(Sphere(center, 0.4, color, 0.2))
    return things


LIGHT = normalize((0.6, 1.0, -0.5))


def nearest(scene, origin, direction):
    """The first thing that a ray meets, and how far away it is."""
    best, best_distance = None, FAR
    for thing in scene:
        distance = thing.hit(origin, direction)
        if distance < best_distance:
            best, best_distance = thing, distance
    return best, best_distance


def sky(direction):
    return mix((1.0, 1.0, 1.0), (0.4, 0.6, 1.0), max(direction[1], 0.0))


def is_in_shadow(scene, point):
    return any(thing.hit(point, LIGHT) < FAR for thing in scene)


def brightness(scene, point, normal):
    """How much light of the sun arrives at a point."""
    facing = dot(normal, LIGHT)
    if facing <= 0.0 or is_in_shadow(scene, point):
        return 0.15
    return 0.15 + 0.85 * facing


def trace(scene, origin, direction, bounces):
    """The colour that is seen from `origin` in `direction`."""
    thing, distance = nearest(scene, origin, direction)
    if thing is None:
        return sky(direction)
    point = add(origin, scale(direction, distance))
    normal = thing.normal(point)
    color = scale(thing.color_at(point), brightness(scene, point, normal))
    if bounces == 0 or thing.mirror == 0.0:
        return color
    mirrored = trace(scene, point, reflect(direction, normal), bounces - 1)
    return mix(color, mirrored, thing.mirror)


def to_bytes(color):
    return bytes(min(int(255.0 * math.sqrt(part)), 255) for part in color)


def render(width, height):
    """The picture as bytes: three per pixel, row by row from the top."""
    scene = make_scene()
    eye = (0.0, 2.2, -6.0)
    rows = []
    for y in range(height):
        for x in range(width):
            right = (x + 0.5 - width / 2) / height
            up = (height / 2 - y - 0.5) / height
            direction = normalize((right, up - 0.25, 1.2))
            rows.append(to_bytes(trace(scene, eye, direction, MAX_BOUNCES)))
    return b"".join(rows)


def main(arguments):
    pixels = render(WIDTH, HEIGHT)
    picture = b"P6 %d %d 255\n" % (WIDTH, HEIGHT) + pixels
    if not arguments:
        print(f"{WIDTH} x {HEIGHT} pixels, checksum {zlib.crc32(pixels):08x}")
    elif arguments[0] == "-":
        sys.stdout.buffer.write(picture)
    else:
        with open(arguments[0], "wb") as file:
            file.write(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
