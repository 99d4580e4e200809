"""How good every label is, beside the plain baseline.

    python -m benchmarks.labels [--data DIR] [--only renders,edges] [--half chosen]
        [--clips 4] [--pictures DIR] [--out FILE]

Without data: what labels cost, and how right they are on rendered clips and on the stereo pair inside
scikit-image. With --data, a folder of real footage with ground truth, also on that: ``edges/images/*.jpg`` and
``edges/boundaries/*.mat`` (BSDS), ``motion/<clip>`` (DAVIS frames and masks), ``flow`` and ``stereo``
(Middlebury), ``rgbd/<clip>`` (7-Scenes). Milliseconds are CPU time of one thread.

Every clip has its own rows. Constants were chosen on one half of the footage (`footage.CHOSEN`); the other half
is reported apart and decides nothing.

Cost: about 80 CPU seconds without data; with 60 BSDS images and a few clips, many minutes.
"""
