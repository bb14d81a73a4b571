"""Small simulated worlds with true depth, classes, hazards and pose."""

# A world is a module of its name in ``gsc_ros.sim.worlds``.
SCENES = ('street', 'rover', 'moon', 'mars', 'corridor', 'rubble')
